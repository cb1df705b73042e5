--- Sets some members of an object, all or none.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, patch or nothing (JSON of members that a merge sets as they are), count, then
--         for each other: path of the member, value
-- RETURNS {the new object}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.update")
