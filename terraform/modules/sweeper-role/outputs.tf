output "role_arn" {
  description = "ARN of the role: `role:` of the provider in the sweeper's dormouse.yaml."
  value       = aws_iam_role.sweeper.arn
}

output "policy" {
  description = "The policy document of the role."
  value       = local.policy
}
