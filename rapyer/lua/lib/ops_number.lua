-- Operations on integers (exact, or refused) and doubles (bit for bit what the language computes).
--- @include "lib/prelude"
--- @include "lib/int64"
--- @include "lib/double"

local function read_number(key, path, integer)
  local text, code, detail = read(key, path)
  if not text then return nil, code, detail end
  local kind = kind_of_text(text)
  if kind == "integer" or (kind == "number" and not integer) then return text end
  return nil, "WRONG_TYPE", kind
end

-- compute: from two decimal texts to a third. ARGV: operand.
local function integer_operation(compute)
  return function(key, path)
    local operand = take()
    local text, code, detail = read_number(key, path, true)
    if not text then return nil, code, detail end
    local result
    result, code, detail = compute(text, operand)
    if not result then return nil, code, detail end
    return function()
      redis.call("JSON.SET", key, path, result)
      return result
    end
  end
end

ops["number.increase"] = integer_operation(int64.add)
ops["number.decrease"] = integer_operation(int64.subtract)
ops["number.multiply"] = integer_operation(int64.multiply)
ops["number.floor_divide"] = integer_operation(int64.floor_divide)
ops["number.modulo"] = integer_operation(int64.modulo)
ops["number.power"] = integer_operation(int64.power)

-- compute: from two doubles to a third. ARGV: operand, a decimal text that reads back exactly.
local function double_operation(compute)
  return function(key, path)
    local operand = tonumber(take())
    local text, code, detail = read_number(key, path, false)
    if not text then return nil, code, detail end
    local result
    result, code = compute(tonumber(text), operand)
    if not result then return nil, code end
    if result ~= result or math.abs(result) == math.huge then return nil, "OUT_OF_RANGE" end
    local head, tail = double.texts(result)
    if not head then return nil, "OUT_OF_RANGE" end
    return function()
      redis.call("JSON.SET", key, path, head)
      if tail then redis.call("JSON.NUMINCRBY", key, path, tail) end
    end
  end
end

ops["number.increase_double"] = double_operation(function(a, b) return a + b end)
ops["number.decrease_double"] = double_operation(function(a, b) return a - b end)
ops["number.multiply_double"] = double_operation(function(a, b) return a * b end)
ops["number.divide_double"] = double_operation(function(a, b)
  if b == 0 then return nil, "ZERO_DIVISION" end
  return a / b
end)
