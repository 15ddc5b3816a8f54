-- rungs.lua NAME: the rungs of the ladder by which a machine was stopped, one a line.
for _, event in ipairs(mp.service.open(arg[1]):events()) do
  if event.type == "stop" then print(event.data.rung) end
end
