-- Doubles, bit for bit. RedisJSON's parser reads the digits of a number as an integer, rounds that to a double and
-- multiplies or divides by one power of ten. So the text to write is found by doing the same here: an integer
-- and a power whose quotient is the wanted double. Where none exists, two such doubles that add up to it.

-- Returns the text to write and, when it is not exact by itself, the text of what must be added to it.
local function double_texts(value)
  if value == 0 then return 1 / value < 0 and "-0.0" or "0.0" end
  -- Up to 15 digits and a small power of ten are exact in any parser, and most values are like that.
  local short = string.format("%.15g", value)
  if tonumber(short) == value and math.abs(value) < 1e15 and math.abs(value) > 1e-7 then
    return string.find(short, "[.e]") and short or short .. ".0"
  end

  local function power(exponent)
    return tonumber("1e" .. exponent)
  end

  -- digits * 10^exponent, step by step as RedisJSON does it.
  local function parsed(digits, exponent)
    while exponent < -308 do
      digits, exponent = digits / 1e308, exponent + 308
    end
    if exponent < 0 then return digits / power(-exponent) end
    return digits * power(exponent)
  end

  -- About x / 10^exponent.
  local function scaled(x, exponent)
    if exponent > 0 then return x / power(exponent) end
    if exponent < -308 then return x * 1e308 * power(-exponent - 308) end
    return x * power(-exponent)
  end

  local function neighbours(x)
    local ulp = 1
    if x < 2 ^ 53 then
      x = math.floor(x + 0.5)
    else
      local _, exponent = math.frexp(x)
      ulp = 2 ^ (exponent - 53)
    end
    return { x, x - ulp, x + ulp, x - 2 * ulp, x + 2 * ulp }
  end

  -- The text of a positive double, or nil.
  local function search(x)
    local size = math.floor(math.log10(x))
    for exponent = size, size - 20, -1 do
      for _, digits in ipairs(neighbours(scaled(x, exponent))) do
        if digits >= 1 and digits < 2 ^ 64 and parsed(digits, exponent) == x then
          return string.format("%.0fe%d", digits, exponent)
        end
      end
    end
    return nil
  end

  local sign = value < 0 and "-" or ""
  local size = math.abs(value)
  local text = search(size)
  if text then return sign .. text end
  local mantissa, exponent = math.frexp(size)
  for bits = 40, 10, -1 do
    local head = math.floor(mantissa * 2 ^ bits) / 2 ^ bits * 2 ^ exponent
    local head_text, tail_text = search(head), size > head and search(size - head)
    if head_text and tail_text then return sign .. head_text, sign .. tail_text end
  end
  return nil
end
