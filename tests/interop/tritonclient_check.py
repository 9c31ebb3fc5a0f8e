"""Asks a model server everything through `tritonclient`, and writes the answers as one JSON object.

Runs in the environment of requirements/interop.txt: `tritonclient_check.py <address>`, rows as JSON on
standard input. It imports nothing of this repository.
"""

import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def infer(client: Any, model: str, name: str, array: Any, **options: Any) -> Any:  # noqa: ANN401
    tensor = triton.InferInput(name, list(array.shape), triton_type(array))
    tensor.set_data_from_numpy(array)
    return client.infer(model, [tensor], **options)


def triton_type(array: Any) -> str:  # noqa: ANN401
    return {"float32": "FP32", "float64": "FP64", "object": "BYTES"}[array.dtype.name]


def refusal(call: Any) -> dict[str, str]:  # noqa: ANN401
    try:
        call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return {}


def infer_in_background(client: Any, rows: Any) -> list[float]:  # noqa: ANN401
    answers: queue.Queue[Any] = queue.Queue()
    tensor = triton.InferInput("X", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    client.async_infer("forest", [tensor], lambda result, error: answers.put(error or result))
    values: list[float] = answers.get(timeout=300).as_numpy("variable").reshape(-1).tolist()
    return values


def check(client: Any, rows: Any) -> dict[str, Any]:  # noqa: ANN401
    newest = infer(client, "forest", "X", rows, request_id="r-1")
    older = infer(
        client, "forest", "X", rows, model_version="1", outputs=[triton.InferRequestedOutput("variable")]
    )
    text = np.array([["é", "b"]], dtype=object)
    wrong = rows[:, :3].copy()
    answers = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("forest"),
        "unknown_ready": client.is_model_ready("unknown"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("forest", as_json=True),
        "config": client.get_model_config("forest", as_json=True),
        "index": client.get_model_repository_index(as_json=True),
        "newest": newest.as_numpy("variable").reshape(-1).tolist(),
        "newest_version": newest.get_response().model_version,
        "newest_id": newest.get_response().id,
        "older": older.as_numpy("variable").reshape(-1).tolist(),
        "older_version": older.get_response().model_version,
        "background": infer_in_background(client, rows),
        "text": [item.decode() for item in infer(client, "text", "x", text).as_numpy("y").reshape(-1)],
        "unknown_model": refusal(lambda: infer(client, "unknown", "X", rows)),
        "wrong_shape": refusal(lambda: infer(client, "forest", "X", wrong)),
        "wrong_datatype": refusal(lambda: infer(client, "forest", "X", rows.astype(np.float64))),
        "statistics": client.get_inference_statistics("forest", as_json=True),
    }
    client.unload_model("forest")
    answers["unloaded_ready"] = client.is_model_ready("forest")
    client.load_model("forest")
    answers["loaded_ready"] = client.is_model_ready("forest")
    answers["unknown_load"] = refusal(lambda: client.load_model("unknown"))
    return answers


def main() -> None:
    rows = np.array(json.load(sys.stdin), dtype=np.float32)
    with triton.InferenceServerClient(sys.argv[1]) as client:
        json.dump(check(client, rows), sys.stdout)


if __name__ == "__main__":
    main()
