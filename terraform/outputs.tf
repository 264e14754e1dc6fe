output "role_arn" {
  description = "Role of the orchestrator; roles in other accounts trust it."
  value       = aws_iam_role.orchestrator.arn
}

output "orchestrator_security_group_id" {
  description = "Security group of the orchestrator."
  value       = aws_security_group.orchestrator.id
}

output "builders_security_group_id" {
  description = "Security group of build machines: `security_groups` of the provider."
  value       = aws_security_group.builders.id
}

output "autoscaling_group_name" {
  description = "The group of one; its instance is the orchestrator."
  value       = aws_autoscaling_group.orchestrator.name
}

output "data_volume_id" {
  description = "The volume with the books. It is not destroyed with the module."
  value       = aws_ebs_volume.data.id
}

output "log_bucket" {
  description = "Bucket of the build logs, or null."
  value       = var.features.logs ? aws_s3_bucket.logs[0].bucket : null
}

output "interruption_queue_url" {
  description = "Queue of interruption warnings, or null."
  value       = var.features.interruptions ? aws_sqs_queue.interruptions[0].url : null
}

output "provider_name" {
  description = "What images write as `provider:`."
  value       = local.region
}

output "settings" {
  description = "The dormouse.yaml that the host gets."
  value       = yamlencode(local.settings)
}

output "policies" {
  description = "The granted policy documents by feature, for roles made elsewhere."
  value       = local.documents
}

output "find_address" {
  description = "Command that prints the orchestrator's private address."
  value       = "aws ec2 describe-instances --region ${local.region} --filters Name=tag:dormouse:component,Values=${local.component} Name=instance-state-name,Values=running --query 'Reservations[].Instances[].PrivateIpAddress' --output text"
}
