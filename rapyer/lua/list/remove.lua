--- Removes the first element that equals a value.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, value
-- RETURNS {the new array}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE VALUE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_list"

return run(list_family, "list.remove")
