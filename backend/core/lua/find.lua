-- KEYS: the versions that the answer is made from, then of a proof its versions, then
-- those of the types of which the answer shows records, then what the proof needs.
-- ARGV: name of the answer, new token, seconds a token lives, how many versions of the
-- answer, of the proof and of types there are, the proof's tokens, a beginning of the
-- answer that is enough, how names of versions begin. Gives the name of the place, what
-- stands there, and the tokens of the types; nothing where the proof does not stand, and
-- a place without a name where the answer is about to change.
--
-- Beside an answer that shows records stands which they are, and what their tokens were.
-- While the tokens of whole types are what they were, none of these is asked.
--
-- A mark and a token of the same version never stand together: what sets a mark removes
-- the token, and none is made while a mark stands. So a token that is there is asked for
-- no marks.

local own, proven, types = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local all = own + proven + types
for i = all + 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return nil end
end
local found = redis.call('MGET', unpack(KEYS, 1, all))
local now
local function complete(first, last)
  for i = first, last do
    if not found[i] then
      local key = KEYS[i]
      now = now or redis.call('TIME')[1]
      if redis.call('ZCOUNT', key .. ':marks', now, '+inf') > 0 then return false end
      found[i] = ARGV[2]
      redis.call('SET', key, found[i], 'EX', ARGV[3])
    end
  end
  return true
end
if not complete(own + 1, own + proven) then return nil end
if table.concat(found, ':', own + 1, own + proven) ~= ARGV[7] then return nil end
if own == 0 then return {ARGV[1]} end
if not complete(1, own) then return {'', false} end
local name = ARGV[1] .. ':' .. table.concat(found, ':', 1, own)
local seen = ''
if types > 0 then
  local place = name .. ':shown'
  if complete(own + proven + 1, all) then
    seen = table.concat(found, ':', own + proven + 1, all)
  end
  local shown = redis.call('GET', place)
  if not shown then return {name, false, seen} end
  local was, records, tokens = shown:match('^(.-)\n(.-)\n(.*)$')
  if was ~= seen then
    local keys = {}
    for record in records:gmatch('[^\t]+') do keys[#keys + 1] = ARGV[9] .. record end
    local tokens_now = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
    for i = 1, #keys do
      if not tokens_now[i] then return {name, false, seen} end
    end
    if table.concat(tokens_now, ':') ~= tokens then return {name, false, seen} end
    if seen ~= '' then
      redis.call('SET', place, seen .. '\n' .. records .. '\n' .. tokens, 'KEEPTTL')
    end
  end
end
local enough = ARGV[8]
if #enough > 0 and redis.call('GETRANGE', name, 0, #enough - 1) == enough then
  return {name, enough, seen}
end
return {name, redis.call('GET', name), seen}
