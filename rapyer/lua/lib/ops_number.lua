-- Operations on integers (exact, or refused) and doubles (bit for bit what the language computes).
--- @include "lib/prelude"
--- @include "lib/int64"
--- @include "lib/double"

families.number = function()
  -- Below this sums are exact doubles; products are where the result is below it, too.
  local EXACT = 2 ^ 51

  local function read_number(key, path, integer)
    local text, code, detail = read(key, path)
    if not text then return nil, code, detail end
    local number = tonumber(text)
    if number and not (integer and string.find(text, "[.eE]")) then return text end
    return nil, "WRONG_TYPE", kind_of_text(text)
  end

  -- The result of two small integers, or nil where only exact arithmetic will do.
  local function quick(name, a, b)
    if name == "add" then return a + b end
    if name == "subtract" then return a - b end
    if name == "multiply" then return a * b end
    return nil
  end

  -- ARGV: operand.
  local function integer_operation(name)
    return function(key, path)
      local operand = take()
      local text, code, detail = read_number(key, path, true)
      if not text then return nil, code, detail end
      local number, amount, result = tonumber(text), tonumber(operand), nil
      if math.abs(number) < EXACT and math.abs(amount) < EXACT then result = quick(name, number, amount) end
      if result and math.abs(result) < EXACT then
        -- "+ 0" turns a negative zero into zero.
        result = string.format("%.0f", result + 0)
      else
        result, code = make_int64()[name](text, operand)
        if not result then return nil, code end
      end
      return function()
        redis.call("JSON.SET", key, path, result)
        return result
      end
    end
  end

  ops["number.increase"] = integer_operation("add")
  ops["number.decrease"] = integer_operation("subtract")
  ops["number.multiply"] = integer_operation("multiply")
  ops["number.floor_divide"] = integer_operation("floor_divide")
  ops["number.modulo"] = integer_operation("modulo")
  ops["number.power"] = integer_operation("power")

  -- compute: from two doubles to a third. ARGV: operand, a decimal text that reads back exactly.
  local function double_operation(compute)
    return function(key, path)
      local operand = take_number()
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
  end

  ops["number.increase_double"] = double_operation(function(a, b) return a + b end)
  ops["number.decrease_double"] = double_operation(function(a, b) return a - b end)
  ops["number.multiply_double"] = double_operation(function(a, b) return a * b end)
  ops["number.divide_double"] = double_operation(function(a, b)
    if b == 0 then return nil, "ZERO_DIVISION" end
    return a / b
  end)
end
