--- Removes an element of an array.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, index, "refuse" or "none" for an empty array
-- RETURNS {the new array, the removed value or nothing}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE INDEX
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_list"

return run(list_family, "list.pop")
