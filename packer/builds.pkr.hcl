build {
  name = "debian12-python"

  source "amazon-ebs.debian12" {
    name            = "debian12-python"
    ami_name        = "${var.ami_prefix}-debian12-python-${local.stamp}"
    ami_description = local.images["debian12-python"].description
    tags = {
      Name              = "${var.ami_prefix}-debian12-python"
      "dormouse:source" = "debian12-python"
      "dormouse:base"   = "{{ .SourceAMIName }}"
    }
    snapshot_tags   = { Name = "${var.ami_prefix}-debian12-python" }
    run_tags        = { Name = "packer-debian12-python" }
    run_volume_tags = { Name = "packer-debian12-python" }
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/base.sh"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/python-uv.sh"
    environment_vars = [
      "PYTHON_VERSIONS=${join(" ", local.images["debian12-python"].capabilities.python)}",
      "UV_VERSION=${var.uv_version}",
    ]
  }

  provisioner "file" {
    source      = "${local.image_dir}/debian12-python.yaml"
    destination = "/tmp/image.yaml"
  }

  # As the user who will run builds: what only root can see is no capability.
  provisioner "shell" {
    execute_command = "chmod +x '{{ .Path }}' && /usr/bin/python3 '{{ .Path }}' /tmp/image.yaml"
    script          = "${path.root}/scripts/verify.py"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/clean.sh"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = { image = "debian12-python" }
  }
}

build {
  name = "ubuntu2404-python"

  source "amazon-ebs.ubuntu2404" {
    name            = "ubuntu2404-python"
    ami_name        = "${var.ami_prefix}-ubuntu2404-python-${local.stamp}"
    ami_description = local.images["ubuntu2404-python"].description
    tags = {
      Name              = "${var.ami_prefix}-ubuntu2404-python"
      "dormouse:source" = "ubuntu2404-python"
      "dormouse:base"   = "{{ .SourceAMIName }}"
    }
    snapshot_tags   = { Name = "${var.ami_prefix}-ubuntu2404-python" }
    run_tags        = { Name = "packer-ubuntu2404-python" }
    run_volume_tags = { Name = "packer-ubuntu2404-python" }
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/base.sh"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/python-deadsnakes.sh"
    environment_vars = [
      "PYTHON_VERSIONS=${join(" ", local.images["ubuntu2404-python"].capabilities.python)}",
    ]
  }

  provisioner "file" {
    source      = "${local.image_dir}/ubuntu2404-python.yaml"
    destination = "/tmp/image.yaml"
  }

  # As the user who will run builds: what only root can see is no capability.
  provisioner "shell" {
    execute_command = "chmod +x '{{ .Path }}' && /usr/bin/python3 '{{ .Path }}' /tmp/image.yaml"
    script          = "${path.root}/scripts/verify.py"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/clean.sh"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = { image = "ubuntu2404-python" }
  }
}

build {
  name = "debian12-databases"

  source "amazon-ebs.debian12" {
    name            = "debian12-databases"
    ami_name        = "${var.ami_prefix}-debian12-databases-${local.stamp}"
    ami_description = local.images["debian12-databases"].description
    tags = {
      Name              = "${var.ami_prefix}-debian12-databases"
      "dormouse:source" = "debian12-databases"
      "dormouse:base"   = "{{ .SourceAMIName }}"
    }
    snapshot_tags   = { Name = "${var.ami_prefix}-debian12-databases" }
    run_tags        = { Name = "packer-debian12-databases" }
    run_volume_tags = { Name = "packer-debian12-databases" }
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/base.sh"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/databases.sh"
    environment_vars = [
      "POSTGRESQL_MAJORS=${join(" ", local.images["debian12-databases"].capabilities.postgresql)}",
      "SQL_SERVER=mariadb-server",
    ]
  }

  provisioner "file" {
    source      = "${local.image_dir}/debian12-databases.yaml"
    destination = "/tmp/image.yaml"
  }

  # As the user who will run builds: what only root can see is no capability.
  provisioner "shell" {
    execute_command = "chmod +x '{{ .Path }}' && /usr/bin/python3 '{{ .Path }}' /tmp/image.yaml"
    script          = "${path.root}/scripts/verify.py"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/clean.sh"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = { image = "debian12-databases" }
  }
}

build {
  name = "ubuntu2404-databases"

  source "amazon-ebs.ubuntu2404" {
    name            = "ubuntu2404-databases"
    ami_name        = "${var.ami_prefix}-ubuntu2404-databases-${local.stamp}"
    ami_description = local.images["ubuntu2404-databases"].description
    tags = {
      Name              = "${var.ami_prefix}-ubuntu2404-databases"
      "dormouse:source" = "ubuntu2404-databases"
      "dormouse:base"   = "{{ .SourceAMIName }}"
    }
    snapshot_tags   = { Name = "${var.ami_prefix}-ubuntu2404-databases" }
    run_tags        = { Name = "packer-ubuntu2404-databases" }
    run_volume_tags = { Name = "packer-ubuntu2404-databases" }
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/base.sh"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/databases.sh"
    environment_vars = [
      "POSTGRESQL_MAJORS=${join(" ", local.images["ubuntu2404-databases"].capabilities.postgresql)}",
      "SQL_SERVER=mysql-server",
    ]
  }

  provisioner "file" {
    source      = "${local.image_dir}/ubuntu2404-databases.yaml"
    destination = "/tmp/image.yaml"
  }

  # As the user who will run builds: what only root can see is no capability.
  provisioner "shell" {
    execute_command = "chmod +x '{{ .Path }}' && /usr/bin/python3 '{{ .Path }}' /tmp/image.yaml"
    script          = "${path.root}/scripts/verify.py"
  }

  provisioner "shell" {
    execute_command = local.as_root
    script          = "${path.root}/scripts/clean.sh"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = { image = "ubuntu2404-databases" }
  }
}
