--- Gives a lock back, if it is still held.
--
-- KEYS    lock
-- ARGV    token
-- RETURNS 1, or 0 where the lock is held no more
-- ERRORS  -
-- FLAGS   -
--- @include "lib/prelude"

if redis.call("HGET", KEYS[1], "owner") ~= take() then return 0 end
return redis.call("DEL", KEYS[1])
