# Answers of AWS that the provider checks for their form, or that the module looks into.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_region" {
  defaults = { id = "eu-central-1", name = "eu-central-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d", "eu-central-1e", "eu-central-1f"] }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/data" }
}

mock_resource "aws_ecs_service" {
  defaults = { id = "arn:aws:ecs:eu-central-1:123456789012:service/data/data-worker" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/data-worker:1" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-prefect-x-AbCdEf"
    id  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-prefect-x-AbCdEf"
  }
}

mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:data-task-events" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:eu-central-1:123456789012:rule/data-task-state" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/any" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/data-any" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::data-any", bucket = "data-any" }
}

mock_resource "aws_codebuild_project" {
  defaults = { arn = "arn:aws:codebuild:eu-central-1:123456789012:project/data-any" }
}

mock_resource "aws_codepipeline" {
  defaults = { arn = "arn:aws:codepipeline:eu-central-1:123456789012:data" }
}

mock_resource "aws_codeconnections_connection" {
  defaults = {
    arn               = "arn:aws:codeconnections:eu-central-1:123456789012:connection/00000000-0000-0000-0000-000000000000"
    connection_status = "PENDING"
  }
}

mock_resource "aws_appautoscaling_policy" {
  defaults = { arn = "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:6d8972f3-efc8-437c-92d1-6270f29a66e7:resource/ecs/service/data/data-worker:policyName/any" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:data-alarms" }
}

mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/data-boundary-eu-central-1" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d", key_id = "0a1b2c3d" }
}

# What modules/checks reads back: a stack in good order.

mock_data "aws_route_tables" {
  defaults = { ids = ["rtb-0123456789abcdef0"] }
}

mock_data "aws_route_table" {
  defaults = { routes = [{
    cidr_block                 = "0.0.0.0/0"
    nat_gateway_id             = "nat-0123456789abcdef0"
    carrier_gateway_id         = ""
    core_network_arn           = ""
    destination_prefix_list_id = ""
    egress_only_gateway_id     = ""
    gateway_id                 = ""
    instance_id                = ""
    ipv6_cidr_block            = ""
    local_gateway_id           = ""
    network_interface_id       = ""
    transit_gateway_id         = ""
    vpc_endpoint_id            = ""
    vpc_peering_connection_id  = ""
  }] }
}

mock_data "aws_nat_gateways" {
  defaults = { ids = ["nat-0123456789abcdef0"] }
}

mock_data "aws_vpc_endpoint" {
  defaults = { id = "vpce-0123456789abcdef0", vpc_endpoint_type = "Interface", private_dns_enabled = true, route_table_ids = ["rtb-0123456789abcdef0"] }
}

mock_data "aws_iam_role" {
  defaults = {
    arn                = "arn:aws:iam::123456789012:role/data-any"
    assume_role_policy = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ecs-tasks.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}"
  }
}

mock_data "aws_subnet" {
  defaults = { availability_zone = "eu-central-1a", available_ip_address_count = 250 }
}

mock_data "aws_vpc" {
  defaults = { enable_dns_support = true, enable_dns_hostnames = true }
}
