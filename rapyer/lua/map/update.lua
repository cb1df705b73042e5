--- Sets some members of an object, all or none.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, then a patch (an object of members that a merge sets as they are), or
--         nothing, count and for each: path of the member, value
-- RETURNS {the new object}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.update")
