-- Operations on bytes, which are kept as base64 strings.
--- @include "lib/prelude"

local function bytes_family(name, key, path)
  local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

  local function encode(bytes)
    local out = {}
    for i = 1, #bytes, 3 do
      local a, b, c = string.byte(bytes, i, i + 2)
      local bits = a * 65536 + (b or 0) * 256 + (c or 0)
      for shift = 3, b and (c and 0 or 1) or 2, -1 do
        local index = math.floor(bits / 64 ^ shift) % 64 + 1
        out[#out + 1] = string.sub(ALPHABET, index, index)
      end
      out[#out + 1] = string.rep("=", b and (c and 0 or 1) or 2)
    end
    return table.concat(out)
  end

  -- The bytes of one to four characters of base64 without padding, or nil.
  local function decode(quantum)
    local bits, count = 0, #quantum
    for i = 1, count do
      local index = string.find(ALPHABET, string.sub(quantum, i, i), 1, true)
      if not index then return nil end
      bits = bits * 64 + index - 1
    end
    if count == 1 then return nil end
    bits = bits * 64 ^ (4 - count)
    local bytes = string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256)
    return string.sub(bytes, 1, count - 1)
  end

  -- Only the last, incomplete group of four characters has to be opened. Text in the alphabet with + and / becomes that
  -- of the other one: who reads a text takes either, not both at once. ARGV: raw bytes.
  if name == "bytes.append" then
    local suffix = take()
    local text, code, detail = read(key, path)
    if not text then return nil, code, detail end
    if string.sub(text, 1, 1) ~= '"' then return nil, "WRONG_TYPE", (kind_at(key, path)) end
    local stored = string.gsub(string.gsub(string.gsub(string.sub(text, 2, -2), "=+$", ""), "%+", "-"), "/", "_")
    local open = #stored % 4
    local tail = open == 0 and "" or decode(string.sub(stored, -open))
    if not tail or string.find(stored, "[^%w_-]") then return nil, "WRONG_TYPE", "string" end
    local result = string.sub(stored, 1, #stored - open) .. encode(tail .. suffix)
    return function()
      redis.call("JSON.SET", key, path, '"' .. result .. '"')
    end
  end
end
