"""What is done to instances that exist: terminate, stop, start, reboot, their attributes, console and tags."""

import base64

from . import catalogue
from .errors import ApiError, invalid, not_found
from .instance import utcnow
from .launch import dry_run, no_capacity
from .records import tag_list, tags_of
from .request import check_tag


def _ids(params):
    ids = params.get("InstanceIds") or []
    if not ids:
        raise ApiError("InvalidParameterCombination", "No instances specified")
    return ids


def _changed(instances, act):
    """The answer of a state change: before and after."""
    rows = []
    for instance in instances:
        before = instance.record["State"]
        act(instance)
        rows.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": instance.record["State"]})
    return rows


def terminate_instances(account, params):
    instances = account.named(_ids(params))
    for each in instances:
        if each.protected:
            raise ApiError(
                "OperationNotPermitted",
                f"The instance '{each.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute "
                "and try again.",
            )
    dry_run(params)
    return {"TerminatingInstances": _changed(instances, account.end)}


def stop_instances(account, params):
    instances = account.named(_ids(params))
    for each in instances:
        if each.state not in ("pending", "running", "stopping", "stopped"):
            raise _wrong_state(each)
        if each.market == "spot":
            raise ApiError("UnsupportedOperation", f"You can't stop the Spot Instance '{each.id}' because it is associated with a one-time Spot Instance request.")
        if params.get("Hibernate") and not each.request.hibernation:
            raise ApiError("UnsupportedHibernationConfiguration", f"Instance '{each.id}' is not enabled for hibernation.")
    dry_run(params)
    return {"StoppingInstances": _changed(instances, account.halt)}


def start_instances(account, params):
    instances = account.named(_ids(params))
    for each in instances:
        if each.state not in ("stopped", "pending", "running"):
            raise _wrong_state(each)
    stopped = [each for each in instances if each.state == "stopped"]
    for each in stopped:
        free = account.capacity.free(each.pool, account.used(each.pool))
        if free is not None and free < len(stopped):
            raise no_capacity(each.pool)
        vcpus = catalogue.vcpus(each.record["InstanceType"])
        account.quotas.check(each.market, account.used_vcpus(each.market), vcpus)
    dry_run(params)

    def start(instance):
        if instance.state == "stopped":
            instance.record["LaunchTime"] = utcnow().replace(microsecond=0)
            account.begin(instance)

    return {"StartingInstances": _changed(instances, start)}


def reboot_instances(account, params):
    instances = account.named(_ids(params))
    dry_run(params)
    for each in instances:
        if each.state == "running":
            account.guests.end(each.id)
            account.guests.boot(each)
    return {}


def _wrong_state(instance):
    return ApiError(
        "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be changed ({instance.state})."
    )


# --- attributes -----------------------------------------------------------------------------------


def modify_instance_attribute(account, params):
    [instance] = account.named([params.get("InstanceId", "")])
    changes = {name: params[name] for name in params if name not in ("InstanceId", "DryRun", "Attribute", "Value")}
    if "Attribute" in params:
        changes[params["Attribute"][0].upper() + params["Attribute"][1:]] = {"Value": params.get("Value")}
    dry_run(params)
    for name, change in changes.items():
        value = change.get("Value") if isinstance(change, dict) else change
        _modify(instance, name, value)
    instance.touch()
    return {}


def _modify(instance, name, value):
    if name in ("InstanceType", "UserData") and instance.state != "stopped":
        raise ApiError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
    if name == "InstanceType":
        if value not in catalogue.types() or instance.zone not in catalogue.zones_of_type().get(value, ()):
            raise invalid("instanceType", value)
        instance.record["InstanceType"] = value
    elif name == "UserData":
        instance.user_data = base64.b64decode(value or "")
    elif name == "InstanceInitiatedShutdownBehavior":
        if value not in ("stop", "terminate"):
            raise invalid("instanceInitiatedShutdownBehavior", value)
        instance.shutdown_behavior = value
    elif name == "DisableApiTermination":
        instance.protected = value in (True, "true")
    elif name == "SourceDestCheck":
        instance.record["SourceDestCheck"] = value in (True, "true")
    else:
        raise invalid("attribute", name)


def describe_instance_attribute(account, params):
    [instance] = account.named([params.get("InstanceId", "")])
    name = params.get("Attribute")
    shown = {
        "userData": ("UserData", {"Value": base64.b64encode(instance.user_data).decode() or None}),
        "instanceType": ("InstanceType", {"Value": instance.record["InstanceType"]}),
        "instanceInitiatedShutdownBehavior": ("InstanceInitiatedShutdownBehavior", {"Value": instance.shutdown_behavior}),
        "disableApiTermination": ("DisableApiTermination", {"Value": instance.protected}),
        "rootDeviceName": ("RootDeviceName", {"Value": instance.record["RootDeviceName"]}),
    }
    if name not in shown:
        raise invalid("attribute", name)
    field, value = shown[name]
    return {"InstanceId": instance.id, field: value}


def get_console_output(account, params):
    [instance] = account.named([params.get("InstanceId", "")])
    log = account.guests.console(instance.id)[-64 * 1024 :]
    return {"InstanceId": instance.id, "Timestamp": utcnow(), "Output": base64.b64encode(log.encode()).decode()}


# --- tags of the lab's own records ----------------------------------------------------------------


def create_tags(account, params):
    return _retag(account, params, lambda old, new: {**old, **new})


def delete_tags(account, params):
    """A tag given with a value goes only if it has that value."""

    def without(old, gone):
        return {key: value for key, value in old.items() if key not in gone or gone[key] not in (None, value)}

    return _retag(account, params, without)


def _retag(account, params, change):
    given = {tag["Key"]: tag.get("Value") for tag in params.get("Tags") or []}
    for key, value in given.items():
        check_tag(key, value or "")
    instances = [each for each in params.get("Resources") or [] if each.startswith("i-")]
    if instances:
        account.named(instances)
    for each in params.get("Resources") or []:
        record = account.records_with_id(each)
        if record is None:
            raise not_found("InvalidID", "resource", [each])
        record["Tags"] = tag_list(change(tags_of(record), given))
        if each in account.instances:
            account.instances[each].touch()
    return {}
