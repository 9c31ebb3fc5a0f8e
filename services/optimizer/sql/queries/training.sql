-- Statements of trainings. Own tables are unqualified; a neighbour's are its published views.

-- name: try_lock_training :one
-- Whether this transaction now holds the right to train; it ends with the transaction, however that ends.
select pg_try_advisory_xact_lock(hashtextextended('optimizer.training', 0)) as locked;
