-- Keys for the use of one call alone.

-- work_keys[key]: one for each name on a path that RedisJSON cannot write to; depth: how many of them are in use.
local work_keys, depth = {}, 0
