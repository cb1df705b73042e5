--- Appends to bytes kept as base64.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, raw bytes
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_bytes"

return run(bytes_family, "bytes.append")
