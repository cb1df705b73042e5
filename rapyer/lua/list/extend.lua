--- Appends values to an array.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, count, values
-- RETURNS {the new array}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_list"

return run(list_family, "list.extend")
