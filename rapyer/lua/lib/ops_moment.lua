-- Operations on ISO 8601 timestamps: proleptic Gregorian calendar, microseconds, the offset stays as written.
--- @include "lib/prelude"

local function moment_family(name, key, path)
  local DAY = 86400

  -- Days since 0000-03-01, by counting years from March so that a leap day comes last.
  local function days_from_date(year, month, day)
    if month <= 2 then year, month = year - 1, month + 12 end
    return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
      + math.floor((153 * (month - 3) + 2) / 5) + day - 1
  end

  local function date_from_days(days)
    local era = math.floor(days / 146097)
    local rest = days - era * 146097
    local leap_days = math.floor(rest / 1460) - math.floor(rest / 36524) + math.floor(rest / 146096)
    local year = math.floor((rest - leap_days) / 365)
    rest = rest - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local month = math.floor((5 * rest + 2) / 153)
    local day = rest - math.floor((153 * month + 2) / 5) + 1
    month = month < 10 and month + 3 or month - 9
    year = year + era * 400
    return month <= 2 and year + 1 or year, month, day
  end

  local PATTERN = '^"(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)%.?(%d*)([Zz+-]?[%d:]*)"$'

  local function parse(text)
    local year, month, day, hour, minute, second, fraction, offset = string.match(text, PATTERN)
    if not year or #fraction > 6 then return nil end
    return {
      days = days_from_date(tonumber(year), tonumber(month), tonumber(day)),
      seconds = hour * 3600 + minute * 60 + second,
      micros = tonumber(string.sub(fraction .. "000000", 1, 6)),
      offset = offset,
    }
  end

  local function format(days, seconds, micros, offset)
    local year, month, day = date_from_days(days)
    if year < 1 or year > 9999 then return nil end
    local hour, minute = math.floor(seconds / 3600), math.floor(seconds / 60) % 60
    local clock = string.format("%02d:%02d:%02d", hour, minute, seconds % 60)
    local fraction = micros > 0 and string.format(".%06d", micros) or ""
    return string.format('"%04d-%02d-%02dT%s%s%s"', year, month, day, clock, fraction, offset)
  end

  -- ARGV: days, seconds and microseconds to add, as timedelta keeps them (only days may be negative).
  if name == "moment.add" then
    local days, seconds, micros = tonumber(take()), tonumber(take()), tonumber(take())
    local text, code, detail = read(key, path)
    if not text then return nil, code, detail end
    local moment = parse(text)
    if not moment then return nil, "WRONG_TYPE", (kind_at(key, path)) end
    micros = moment.micros + micros
    seconds = moment.seconds + seconds + math.floor(micros / 1000000)
    days = moment.days + days + math.floor(seconds / DAY)
    local result = format(days, seconds % DAY, micros % 1000000, moment.offset)
    if not result then return nil, "OUT_OF_RANGE" end
    return function()
      redis.call("JSON.SET", key, path, result)
    end
  end
end
