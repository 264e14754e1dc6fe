"""Launch templates: data kept as sent, applied by `request`."""

import re

from .account import fresh_id
from .errors import ApiError, missing
from .instance import utcnow
from .launch import dry_run, remember, replay
from .records import filtered, page, tag_list
from .request import decoded_user_data, tags_by_resource, template_data

CREATOR = "arn:aws:iam::123456789012:root"


def create_launch_template(account, params):
    name, data = params.get("LaunchTemplateName"), params.get("LaunchTemplateData")
    if not name or not data:
        raise missing("LaunchTemplateData" if name else "LaunchTemplateName")
    made = replay(account, "CreateLaunchTemplate", params, None)
    if made is not None:
        return {"LaunchTemplate": account.templates[made]}
    if not re.fullmatch(r"[a-zA-Z0-9().\-/_]{3,128}", name):
        raise ApiError("InvalidLaunchTemplateName.MalformedException", f"The launch template name '{name}' is malformed.")
    if any(each["LaunchTemplateName"] == name for each in account.templates.values()):
        raise ApiError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
    decoded_user_data(data.get("UserData"))
    dry_run(params)
    tags = tags_by_resource(params.get("TagSpecifications", []), "spot").get("launch-template", {})
    record = {
        "LaunchTemplateId": fresh_id("lt"),
        "LaunchTemplateName": name,
        "CreateTime": utcnow(),
        "CreatedBy": CREATOR,
        "DefaultVersionNumber": 1,
        "LatestVersionNumber": 1,
        "Tags": tag_list(tags),
        "versions": [data],
    }
    account.templates[record["LaunchTemplateId"]] = record
    remember(account, "CreateLaunchTemplate", params, None, record["LaunchTemplateId"])
    return {"LaunchTemplate": record}


def create_launch_template_version(account, params):
    record = _named(account, params)
    data = params.get("LaunchTemplateData") or {}
    decoded_user_data(data.get("UserData"))
    if source := params.get("SourceVersion"):
        identity = {"LaunchTemplateId": record["LaunchTemplateId"], "Version": source}
        data = {**template_data(account, identity)[1], **data}
    record["versions"].append(data)
    record["LatestVersionNumber"] = len(record["versions"])
    return {"LaunchTemplateVersion": _version(record, len(record["versions"]))}


def delete_launch_template(account, params):
    record = _named(account, params)
    dry_run(params)
    return {"LaunchTemplate": account.templates.pop(record["LaunchTemplateId"])}


def _named(account, params):
    identity = {name: params[name] for name in ("LaunchTemplateId", "LaunchTemplateName") if name in params}
    if not identity:
        raise missing("LaunchTemplateId")
    return account.templates[template_data(account, identity)[0][0]]


FILTERS = {
    "launch-template-name": lambda template: template["LaunchTemplateName"],
    "create-time": lambda template: template["CreateTime"],
}


def describe_launch_templates(account, params, limits):
    ids, names = params.get("LaunchTemplateIds") or [], params.get("LaunchTemplateNames") or []
    for each in ids:
        template_data(account, {"LaunchTemplateId": each})
    for each in names:
        template_data(account, {"LaunchTemplateName": each})
    chosen = [
        each
        for each in account.templates.values()
        if not (ids or names) or each["LaunchTemplateId"] in ids or each["LaunchTemplateName"] in names
    ]
    key = lambda template: template["LaunchTemplateId"]  # noqa: E731
    chosen = sorted(filtered(chosen, params.get("Filters"), FILTERS), key=key)
    chosen, token = page(chosen, key, params, limits)
    return {"LaunchTemplates": chosen, "NextToken": token}


def describe_launch_template_versions(account, params, limits):
    record = _named(account, params)
    wanted = params.get("Versions") or range(1, len(record["versions"]) + 1)
    identity = {"LaunchTemplateId": record["LaunchTemplateId"]}
    numbers = [template_data(account, {**identity, "Version": str(each)})[0][1] for each in wanted]
    return {"LaunchTemplateVersions": [_version(record, each) for each in numbers]}


def _version(record, number):
    return {
        "LaunchTemplateId": record["LaunchTemplateId"],
        "LaunchTemplateName": record["LaunchTemplateName"],
        "VersionNumber": number,
        "CreateTime": record["CreateTime"],
        "CreatedBy": CREATOR,
        "DefaultVersion": number == record["DefaultVersionNumber"],
        "LaunchTemplateData": record["versions"][number - 1],
    }
