--- Removes a member of an object that has to be there.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, path of the member
-- RETURNS {the new object}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE ENTRY
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.delete_item")
