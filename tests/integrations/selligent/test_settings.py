"""Settings of Selligent: which are refused, and what they make of URLs and mappings."""

import pytest

from loader.errors import UsageError
from loader.integrations.protocol import Integration
from tests.support.selligent_calls import SETTINGS, deliver, identify, opened
from tests.support.selligent_server import KEY, selligent
from tests.support.targets import batch, integration


def made(**settings: str) -> Integration:
    return integration("selligent", KEY, **{**SETTINGS, "url": "https://acme.slgnt.eu/", **settings})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "acme.slgnt.eu"}, "url is invalid"),
        ({"url": "https://acme.slgnt.eu/Portal"}, "url is invalid"),
        ({"organization": " "}, "organization is empty"),
        ({"business_key": ""}, "business_key cannot be read"),
        ({"business_key": "A=userId, B=userId"}, "one field"),
        ({"profile_fields": "MAIL=email"}, "the source 'email'"),
        ({"profile_fields": "MAIL=traits."}, "the source 'traits.'"),
        ({"profile_fields": "MAIL"}, "cannot be read at 'MAIL'"),
        ({"profile_fields": "A=traits.a, A=traits.b"}, "has A twice"),
        ({"profile_fields": "CUSTOMER_ID=traits.id"}, "has the business key"),
        ({"events_fields": "EVENT=event"}, "events_fields has no EVENT_ID"),
        ({"events_fields": ""}, "events_fields is empty"),
        ({"journeys": "[]"}, "journeys is invalid"),
        ({"journeys": '{"A": {"journey": "j"}}'}, "journeys is invalid"),
        ({"journeys": '{"A": {"journey": "j", "entrypoint": "e", "parameters": {"P": "price"}}}'}, "journeys has"),
        ({"records": "2501"}, "from 1 to 2500"),
        ({"max_wait": "-1"}, "from 0 to 3600"),
        ({"page": "maybe"}, "yes, no"),
        ({"load_path": "lists/{list}"}, "does not begin with /"),
        ({"trigger_path": "/{list}"}, "has {list}"),
        ({"api_path": "/{customer}"}, "api_path is invalid"),
    ],
)
def test_an_invalid_setting_is_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        made(**settings)
    assert problem in str(raised.value)


def test_names_and_values_are_quoted_in_urls_and_parameters_without_a_value_are_left_out() -> None:
    found = made(
        organization="A & B", events_key="", journeys="{}", load_path="/l/{list}?keyFields={keys}&x=1&f={fields}"
    )
    text = found.preview(batch(found, {"type": "track", "event": "Cart Viewed", "userId": "u"}))
    assert text.startswith(
        "POST https://acme.slgnt.eu/Portal/Api/organizations/A%20%26%20B/l/segment_events"
        "?x=1&f=EVENT_ID,CUSTOMER_ID,EVENT,HAPPENED_AT,PRICE\n"
    )


def test_values_come_from_where_the_mapping_says() -> None:
    fields = 'MAIL=context.traits.email, PLAN="a, \\"b\\"", AGE=traits.address.number'
    with selligent() as server:
        deliver(
            opened(server, profile_fields=fields),
            {**identify(1, address={"number": 7}), "context": {"traits": {"email": "x"}}},
        )
        assert server.rows("customers")["u1"] == {"CUSTOMER_ID": "u1", "MAIL": "x", "PLAN": 'a, "b"', "AGE": 7}


def test_objects_are_sent_as_texts() -> None:
    with selligent() as server:
        found = opened(server, business_key="CUSTOMER_ID=traits.id", profile_fields="MAIL=traits.tags")
        deliver(found, identify(1, id="k", tags=["u", 1.50]))
        assert server.rows("customers")["k"]["MAIL"] == '["u",1.5]'
