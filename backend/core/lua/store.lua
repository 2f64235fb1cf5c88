-- KEYS: the place, and the versions of the types of which the answer shows records.
-- ARGV: the answer, seconds it lives, what the tokens of the types were before the
-- records were read, new token, seconds a token lives, how names of versions begin, the
-- rest of the names of the records' versions.
--
-- Where a type has another token by now, nobody knows whether the records that were read
-- are those of now. Where it has the same, none of its records has a mark.

local seen = redis.call('MGET', unpack(KEYS, 2))
for i = 1, #seen do
  if not seen[i] then return end
end
if table.concat(seen, ':') ~= ARGV[3] then return end
local keys, tokens = {}, {}
for record in ARGV[7]:gmatch('[^\t]+') do keys[#keys + 1] = ARGV[6] .. record end
if #keys > 0 then tokens = redis.call('MGET', unpack(keys)) end
for i = 1, #keys do
  if not tokens[i] then
    tokens[i] = ARGV[4]
    redis.call('SET', keys[i], tokens[i], 'EX', ARGV[5])
  end
end
local shown = ARGV[3] .. '\n' .. ARGV[7] .. '\n' .. table.concat(tokens, ':')
redis.call('SET', KEYS[1] .. ':shown', shown, 'EX', ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
