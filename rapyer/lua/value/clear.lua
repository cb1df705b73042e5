--- Empties an array or object.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, kind it must have, empty value
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_value"

return run(value_family, "value.clear")
