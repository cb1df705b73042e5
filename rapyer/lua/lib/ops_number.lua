-- Operations on integers (exact, or refused) and doubles (bit for bit what the language computes).
--- @include "lib/prelude"
--- @include "lib/double"

local function read_number(key, path, integer)
  local text, code, detail = read(key, path)
  if not text then return nil, code, detail end
  local number = tonumber(text)
  if number and not (integer and string.find(text, "[.eE]")) then return text end
  return nil, "WRONG_TYPE", (kind_at(key, path))
end

-- Below this sums are exact doubles; products are where the result is below it, too.
local EXACT = 2 ^ 51
local int64

-- The result of two integers, all as text, or a refusal.
local function exact(word, text, operand)
  local a, b = tonumber(text), tonumber(operand)
  if a < EXACT and a > -EXACT and b < EXACT and b > -EXACT then
    local result
    if word == "add" then
      result = a + b
    elseif word == "subtract" then
      result = a - b
    elseif word == "multiply" then
      result = a * b
    end
    if result and result < EXACT and result > -EXACT then return string.format("%d", result) end
  end
  if not int64 then
    --- @include "lib/int64"
    int64 = make_int64()
  end
  return int64[word](text, operand)
end

-- ARGV: operand.
local function integer_operation(word, key, path)
  local operand = take()
  local text, code, detail = read_number(key, path, true)
  if not text then return nil, code, detail end
  local result
  result, code = exact(word, text, operand)
  if not result then return nil, code end
  return function()
    redis.call("JSON.SET", key, path, result)
    return result
  end
end

-- compute: from two doubles to a third, or nil and a code. ARGV: operand, a decimal text that reads back exactly.
local function double_operation(compute, key, path)
  local operand = tonumber(take())
  local text, code, detail = read_number(key, path, false)
  if not text then return nil, code, detail end
  local result
  result, code = compute(tonumber(text), operand)
  if not result then return nil, code end
  if result ~= result or math.abs(result) == math.huge then return nil, "OUT_OF_RANGE" end
  local head, tail = double_texts(result)
  if not head then return nil, "OUT_OF_RANGE" end
  return function()
    redis.call("JSON.SET", key, path, head)
    if tail then redis.call("JSON.NUMINCRBY", key, path, tail) end
  end
end

local function number_family(name, key, path)
  if name == "number.increase" then return integer_operation("add", key, path) end
  if name == "number.decrease" then return integer_operation("subtract", key, path) end
  if name == "number.multiply" then return integer_operation("multiply", key, path) end
  if name == "number.floor_divide" then return integer_operation("floor_divide", key, path) end
  if name == "number.modulo" then return integer_operation("modulo", key, path) end
  if name == "number.power" then return integer_operation("power", key, path) end

  if name == "number.increase_double" then return double_operation(function(a, b) return a + b end, key, path) end
  if name == "number.decrease_double" then return double_operation(function(a, b) return a - b end, key, path) end
  if name == "number.multiply_double" then return double_operation(function(a, b) return a * b end, key, path) end
  if name == "number.divide_double" then
    local function quotient(a, b)
      if b == 0 then return nil, "ZERO_DIVISION" end
      return a / b
    end
    return double_operation(quotient, key, path)
  end
end
