-- Exact integers of signed 64 bits, as decimal text. A Lua number is a double and loses digits from 2^53 on: larger
-- values are a sign and a list of limbs, base 10^7, least first (a product of two limbs stays exact).

local function make_int64()
  local int64 = {}

  local BASE, WIDTH = 10000000, 7

  local function trim(limbs)
    while #limbs > 1 and limbs[#limbs] == 0 do limbs[#limbs] = nil end
    return limbs
  end

  local function parse(text)
    local negative = string.sub(text, 1, 1) == "-"
    local digits = string.gsub(text, "^[-+]", "")
    local limbs = {}
    for stop = #digits, 1, -WIDTH do
      limbs[#limbs + 1] = tonumber(string.sub(digits, math.max(1, stop - WIDTH + 1), stop))
    end
    return { negative = negative, limbs = trim(limbs) }
  end

  local function is_zero(limbs)
    return #limbs == 1 and limbs[1] == 0
  end

  local function format(value)
    local parts = { tostring(value.limbs[#value.limbs]) }
    for i = #value.limbs - 1, 1, -1 do
      parts[#parts + 1] = string.format("%07d", value.limbs[i])
    end
    local sign = value.negative and not is_zero(value.limbs) and "-" or ""
    return sign .. table.concat(parts)
  end

  local function compare(a, b)
    if #a ~= #b then return #a < #b and -1 or 1 end
    for i = #a, 1, -1 do
      if a[i] ~= b[i] then return a[i] < b[i] and -1 or 1 end
    end
    return 0
  end

  local function sum(a, b)
    local out, carry = {}, 0
    for i = 1, math.max(#a, #b) do
      local limb = (a[i] or 0) + (b[i] or 0) + carry
      carry = limb >= BASE and 1 or 0
      out[i] = limb - carry * BASE
    end
    if carry > 0 then out[#out + 1] = carry end
    return out
  end

  -- a minus b, where a is not the smaller one.
  local function difference(a, b)
    local out, borrow = {}, 0
    for i = 1, #a do
      local limb = a[i] - (b[i] or 0) - borrow
      borrow = limb < 0 and 1 or 0
      out[i] = limb + borrow * BASE
    end
    return trim(out)
  end

  local function product(a, b)
    local out = {}
    for i = 1, #a + #b do out[i] = 0 end
    for i = 1, #a do
      local carry = 0
      for j = 1, #b do
        local limb = out[i + j - 1] + a[i] * b[j] + carry
        carry = math.floor(limb / BASE)
        out[i + j - 1] = limb - carry * BASE
      end
      out[i + #b] = out[i + #b] + carry
    end
    return trim(out)
  end

  -- Quotient and remainder of magnitudes, by doubling the divisor until it is too large and going back.
  local function divide(a, b)
    local steps = { { { 1 }, b } }
    while compare(steps[#steps][2], a) <= 0 do
      local last = steps[#steps]
      steps[#steps + 1] = { sum(last[1], last[1]), sum(last[2], last[2]) }
    end
    local quotient, rest = { 0 }, a
    for i = #steps, 1, -1 do
      if compare(steps[i][2], rest) <= 0 then
        quotient, rest = sum(quotient, steps[i][1]), difference(rest, steps[i][2])
      end
    end
    return quotient, rest
  end

  local LARGEST = { [true] = parse("9223372036854775808").limbs, [false] = parse("9223372036854775807").limbs }

  local function checked_format(value)
    if compare(value.limbs, LARGEST[value.negative]) > 0 then return nil, "OUT_OF_RANGE" end
    return format(value)
  end

  local function signed_sum(a, b)
    if a.negative == b.negative then return { negative = a.negative, limbs = sum(a.limbs, b.limbs) } end
    if compare(a.limbs, b.limbs) >= 0 then return { negative = a.negative, limbs = difference(a.limbs, b.limbs) } end
    return { negative = b.negative, limbs = difference(b.limbs, a.limbs) }
  end

  local function negated(value)
    return { negative = not value.negative and not is_zero(value.limbs), limbs = value.limbs }
  end

  -- Division that rounds down, as Python's does: the remainder has the divisor's sign.
  local function floor_divide(a, b)
    local quotient, rest = divide(a.limbs, b.limbs)
    local negative = a.negative ~= b.negative
    if negative and not is_zero(rest) then
      quotient, rest = sum(quotient, { 1 }), difference(b.limbs, rest)
    end
    return { negative = negative, limbs = quotient }, { negative = b.negative, limbs = rest }
  end

  local function power(a, exponent)
    local result = { negative = false, limbs = { 1 } }
    -- Beyond the 63rd power only 0, 1 and -1 stay in range, and those repeat every two steps.
    if #a.limbs == 1 and a.limbs[1] <= 1 then exponent = exponent > 2 and 2 - exponent % 2 or exponent end
    for _ = 1, exponent do
      result = { negative = result.negative ~= a.negative, limbs = product(result.limbs, a.limbs) }
      if compare(result.limbs, LARGEST[result.negative]) > 0 then return nil end
    end
    return result
  end

  function int64.add(a, b)
    return checked_format(signed_sum(parse(a), parse(b)))
  end

  function int64.subtract(a, b)
    return checked_format(signed_sum(parse(a), negated(parse(b))))
  end

  function int64.multiply(a, b)
    local u, v = parse(a), parse(b)
    return checked_format({ negative = u.negative ~= v.negative, limbs = product(u.limbs, v.limbs) })
  end

  function int64.floor_divide(a, b)
    if tonumber(b) == 0 then return nil, "ZERO_DIVISION" end
    local quotient = floor_divide(parse(a), parse(b))
    return checked_format(quotient)
  end

  function int64.modulo(a, b)
    if tonumber(b) == 0 then return nil, "ZERO_DIVISION" end
    local _, rest = floor_divide(parse(a), parse(b))
    return format(rest)
  end

  -- The exponent is not negative; it counts loops, and all that matters of it beyond 2^51 is whether it is odd.
  function int64.power(a, b)
    local last = tonumber(string.sub(b, -1))
    local exponent = #b > 15 and 1000 + last % 2 or tonumber(b)
    local value = parse(a)
    if not (#value.limbs == 1 and value.limbs[1] <= 1) and exponent > 63 then return nil, "OUT_OF_RANGE" end
    local result = power(value, exponent)
    if not result then return nil, "OUT_OF_RANGE" end
    return checked_format(result)
  end

  return int64
end
