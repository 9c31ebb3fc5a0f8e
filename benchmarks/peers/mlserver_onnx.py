"""The custom runtime by which MLServer serves an ONNX file; it runs in the peers' own environment."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class OnnxModel(MLModel):
    """One ONNX model of one input, on one thread: the leanest that MLServer's interface allows."""

    async def load(self) -> bool:
        """Open the model file that the settings name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        uri = await get_model_uri(self._settings)
        self._session = onnxruntime.InferenceSession(uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return every output."""
        [given] = payload.inputs
        names = [output.name for output in self._session.get_outputs()]
        answers = self._session.run(names, {given.name: NumpyCodec.decode_input(given)})
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output(name, array) for name, array in zip(names, answers, strict=True)
            ],
        )
