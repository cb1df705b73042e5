--- Moves a timestamp by a duration.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, days, seconds, microseconds
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_moment"

return run(moment_family, "moment.add")
