# What belongs to a zone used to be addressed by the zone's place in the list. A
# list from "a" on, as az_count makes it in most regions, goes over without a
# change; where it did not start at "a", or left letters out, ranges change and
# with them the subnets.

moved {
  from = aws_subnet.private[0]
  to   = aws_subnet.private["a"]
}

moved {
  from = aws_subnet.private[1]
  to   = aws_subnet.private["b"]
}

moved {
  from = aws_subnet.private[2]
  to   = aws_subnet.private["c"]
}

moved {
  from = aws_subnet.private[3]
  to   = aws_subnet.private["d"]
}

moved {
  from = aws_subnet.private[4]
  to   = aws_subnet.private["e"]
}

moved {
  from = aws_subnet.private[5]
  to   = aws_subnet.private["f"]
}

moved {
  from = aws_subnet.public[0]
  to   = aws_subnet.public["a"]
}

moved {
  from = aws_subnet.public[1]
  to   = aws_subnet.public["b"]
}

moved {
  from = aws_subnet.public[2]
  to   = aws_subnet.public["c"]
}

moved {
  from = aws_subnet.public[3]
  to   = aws_subnet.public["d"]
}

moved {
  from = aws_subnet.public[4]
  to   = aws_subnet.public["e"]
}

moved {
  from = aws_subnet.public[5]
  to   = aws_subnet.public["f"]
}

moved {
  from = aws_eip.nat[0]
  to   = aws_eip.nat["a"]
}

moved {
  from = aws_eip.nat[1]
  to   = aws_eip.nat["b"]
}

moved {
  from = aws_eip.nat[2]
  to   = aws_eip.nat["c"]
}

moved {
  from = aws_eip.nat[3]
  to   = aws_eip.nat["d"]
}

moved {
  from = aws_eip.nat[4]
  to   = aws_eip.nat["e"]
}

moved {
  from = aws_eip.nat[5]
  to   = aws_eip.nat["f"]
}

moved {
  from = aws_nat_gateway.this[0]
  to   = aws_nat_gateway.this["a"]
}

moved {
  from = aws_nat_gateway.this[1]
  to   = aws_nat_gateway.this["b"]
}

moved {
  from = aws_nat_gateway.this[2]
  to   = aws_nat_gateway.this["c"]
}

moved {
  from = aws_nat_gateway.this[3]
  to   = aws_nat_gateway.this["d"]
}

moved {
  from = aws_nat_gateway.this[4]
  to   = aws_nat_gateway.this["e"]
}

moved {
  from = aws_nat_gateway.this[5]
  to   = aws_nat_gateway.this["f"]
}

moved {
  from = aws_route_table.private[0]
  to   = aws_route_table.private["a"]
}

moved {
  from = aws_route_table.private[1]
  to   = aws_route_table.private["b"]
}

moved {
  from = aws_route_table.private[2]
  to   = aws_route_table.private["c"]
}

moved {
  from = aws_route_table.private[3]
  to   = aws_route_table.private["d"]
}

moved {
  from = aws_route_table.private[4]
  to   = aws_route_table.private["e"]
}

moved {
  from = aws_route_table.private[5]
  to   = aws_route_table.private["f"]
}

moved {
  from = aws_route.private_nat[0]
  to   = aws_route.private_nat["a"]
}

moved {
  from = aws_route.private_nat[1]
  to   = aws_route.private_nat["b"]
}

moved {
  from = aws_route.private_nat[2]
  to   = aws_route.private_nat["c"]
}

moved {
  from = aws_route.private_nat[3]
  to   = aws_route.private_nat["d"]
}

moved {
  from = aws_route.private_nat[4]
  to   = aws_route.private_nat["e"]
}

moved {
  from = aws_route.private_nat[5]
  to   = aws_route.private_nat["f"]
}

moved {
  from = aws_route_table_association.private[0]
  to   = aws_route_table_association.private["a"]
}

moved {
  from = aws_route_table_association.private[1]
  to   = aws_route_table_association.private["b"]
}

moved {
  from = aws_route_table_association.private[2]
  to   = aws_route_table_association.private["c"]
}

moved {
  from = aws_route_table_association.private[3]
  to   = aws_route_table_association.private["d"]
}

moved {
  from = aws_route_table_association.private[4]
  to   = aws_route_table_association.private["e"]
}

moved {
  from = aws_route_table_association.private[5]
  to   = aws_route_table_association.private["f"]
}

moved {
  from = aws_route_table_association.public[0]
  to   = aws_route_table_association.public["a"]
}

moved {
  from = aws_route_table_association.public[1]
  to   = aws_route_table_association.public["b"]
}

moved {
  from = aws_route_table_association.public[2]
  to   = aws_route_table_association.public["c"]
}

moved {
  from = aws_route_table_association.public[3]
  to   = aws_route_table_association.public["d"]
}

moved {
  from = aws_route_table_association.public[4]
  to   = aws_route_table_association.public["e"]
}

moved {
  from = aws_route_table_association.public[5]
  to   = aws_route_table_association.public["f"]
}
