-- KEYS: a place, and versions. ARGV: new token, seconds a token lives. Gives what stands
-- in the place, and the token of each version; none where a change is announced.

local answer = {redis.call('GET', KEYS[1])}
local now
-- More values than some thousand do not fit on the stack.
for first = 2, #KEYS, 1000 do
  local last = math.min(first + 999, #KEYS)
  local found = redis.call('MGET', unpack(KEYS, first, last))
  for i = first, last do
    local key, token = KEYS[i], found[i - first + 1]
    if not token then
      now = now or redis.call('TIME')[1]
      if redis.call('ZCOUNT', key .. ':marks', now, '+inf') == 0 then
        token = ARGV[1]
        redis.call('SET', key, token, 'EX', ARGV[2])
      end
    end
    answer[i] = token
  end
end
return answer
