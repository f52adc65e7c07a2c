//! Lists: selectors, pages, revisions.

use serde_json::{Value, json};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn five() -> World {
    let world = World::new().await;
    for i in 0..5 {
        let parity = if i % 2 == 0 { "even" } else { "odd" };
        let body = json!({"metadata": {"name": format!("m{i}"), "labels": {"parity": parity}}});
        assert_eq!(world.post(MAPS, body).await.status, 201);
    }
    world
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn selectors_choose_and_items_have_no_type() {
    let world = five().await;
    let list = world.get(&format!("{MAPS}?labelSelector=parity%3Dodd")).await.json();
    assert_eq!(names(&list), ["m1", "m3"]);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert!(list["items"][0].get("kind").is_none());
    let list = world
        .get(&format!("{MAPS}?fieldSelector=metadata.name%21%3Dm0&labelSelector=parity%20notin%20(odd)"))
        .await;
    assert_eq!(names(&list.json()), ["m2", "m4"]);
    assert_eq!(world.get(&format!("{MAPS}?labelSelector=a%20in%20")).await.json()["reason"], "BadRequest");
    assert_eq!(names(&world.get("/api/v1/namespaces/kube-system/configmaps").await.json()), [""; 0]);
    assert_eq!(names(&world.get("/api/v1/configmaps").await.json()).len(), 5);
}

#[tokio::test]
async fn every_page_is_of_the_same_moment() {
    let world = five().await;
    let first = world.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["m0".into(), "m1".into()], &json!(3))
    );
    world.delete(&format!("{MAPS}/m3")).await;
    world.post(MAPS, json!({"metadata": {"name": "m22"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = world.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = world.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&third), ["m4"]);
    assert!(third["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn forgotten_page_is_expired_and_offers_to_go_on_with_what_is_newest() {
    let world = five().await;
    let first = world.get(&format!("{MAPS}?limit=2")).await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    world.post(MAPS, json!({"metadata": {"name": "m22"}})).await;
    world.server.forget_events();
    let answer = world.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(
        answer.said(),
        "410 Expired: The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
    );
    let status = answer.json();
    let token = status["metadata"]["continue"].as_str().unwrap();
    let second = world.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&second), ["m2", "m22"], "the newest, after what was handed out");
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    world.delete(&format!("{MAPS}/m4")).await;
    let third = world.get(&format!("{MAPS}?limit=9&continue={token}")).await.json();
    assert_eq!(names(&third), ["m3", "m4"], "from here on all pages are of one moment again");
    assert_eq!(third["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
}

/// Every list of every past revision, whole and in pages, is what was listed then.
#[tokio::test]
async fn list_of_an_exact_revision_is_what_was_there_then() {
    let world = World::new().await;
    let other = "/api/v1/namespaces/kube-system/configmaps";
    let everywhere = "/api/v1/configmaps";
    let mut seen: Vec<(String, Value)> = Vec::new();
    let mut random = 7u32;
    for step in 0..60 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let maps = if random >> 30 == 0 { other } else { MAPS };
        let name = format!("m{}", (random >> 20) % 7);
        let url = format!("{maps}/{name}");
        match (random >> 10) % 3 {
            0 => drop(world.delete(&url).await),
            1 => drop(world.merge(&url, json!({"data": {"step": step.to_string()}})).await),
            _ => drop(world.post(maps, json!({"metadata": {"name": name, "labels": {"a": "b"}}})).await),
        }
        for url in [MAPS.to_owned(), format!("{everywhere}?labelSelector=a"), everywhere.to_owned()] {
            seen.push((url.clone(), world.get(&url).await.json()));
        }
    }
    assert!(seen.iter().any(|(_, list)| names(list).len() > 6), "the steps made something");
    for (url, then) in &seen {
        let revision = then["metadata"]["resourceVersion"].as_str().unwrap();
        let mark = if url.contains('?') { '&' } else { '?' };
        let exact = format!("{url}{mark}resourceVersion={revision}&resourceVersionMatch=Exact");
        assert_eq!(&world.get(&exact).await.json(), then, "{exact}");
        // A limit makes a bare version an exact one.
        let mut page = world.get(&format!("{url}{mark}resourceVersion={revision}&limit=2")).await.json();
        let mut items = page["items"].as_array().unwrap().clone();
        while let Some(token) = page["metadata"]["continue"].as_str().map(str::to_owned) {
            page = world.get(&format!("{url}{mark}limit=2&continue={token}")).await.json();
            assert_eq!(page["metadata"]["resourceVersion"], revision);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
        }
        assert_eq!(items, *then["items"].as_array().unwrap());
    }
    world.server.forget_events();
    let (_, oldest) = &seen[0];
    let revision = oldest["metadata"]["resourceVersion"].as_str().unwrap();
    let said =
        world.get(&format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await.said();
    assert_eq!(said, "410 Expired: The resourceVersion for the provided list is too old.");
}

#[tokio::test]
async fn list_of_any_age_has_no_pages() {
    let world = five().await;
    let list = world.get(&format!("{MAPS}?limit=2&resourceVersion=0")).await.json();
    assert_eq!(names(&list).len(), 5);
    assert!(list["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn what_is_left_is_counted_without_selectors_only() {
    let world = five().await;
    let counted = |list: &Value| {
        (list["metadata"]["continue"].is_string(), list["metadata"]["remainingItemCount"].clone())
    };
    for (query, expect) in [
        ("limit=2", (true, json!(3))),
        ("limit=5", (false, Value::Null)),
        ("limit=1&labelSelector=parity", (true, Value::Null)),
        ("limit=1&fieldSelector=metadata.name%21%3Dm9", (true, Value::Null)),
        ("limit=1&fieldSelector=metadata.name%3Dm2", (false, Value::Null)),
    ] {
        assert_eq!(counted(&world.get(&format!("{MAPS}?{query}")).await.json()), expect, "{query}");
    }
}

/// resourceVersion × resourceVersionMatch × limit × continue, as upstream's list options tests have them.
#[tokio::test]
async fn options_of_lists_that_do_not_go_together_are_refused() {
    let world = five().await;
    let first = world.get(&format!("{MAPS}?limit=2")).await.json();
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let invalid = |what: &str| format!("422 Invalid: ListOptions.meta.k8s.io \"\" is invalid: {what}");
    let unless = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    let with_token =
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
    let exact = "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
    let mode = |given: &str| {
        format!(
            "resourceVersionMatch: Unsupported value: \"{given}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
        )
    };
    let token_of = |json: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
    };
    let bad_token =
        |why: &str| format!("400 BadRequest: invalid continue token: continue key is not valid: {why}");
    for (query, expect) in [
        (String::new(), String::new()),
        ("resourceVersion=0".into(), String::new()),
        (format!("resourceVersion={revision}"), String::new()),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".into(), String::new()),
        (format!("resourceVersion={revision}&resourceVersionMatch=NotOlderThan&limit=2"), String::new()),
        (format!("resourceVersion={revision}&resourceVersionMatch=Exact"), String::new()),
        (format!("continue={token}&resourceVersion=0"), String::new()),
        ("resourceVersionMatch=Exact".into(), invalid(unless)),
        ("resourceVersionMatch=NotOlderThan".into(), invalid(unless)),
        ("resourceVersion=0&resourceVersionMatch=Exact".into(), invalid(exact)),
        (format!("resourceVersion={revision}&resourceVersionMatch=Newest"), invalid(&mode("Newest"))),
        ("resourceVersionMatch=Newest".into(), invalid(&format!("[{unless}, {}]", mode("Newest")))),
        (
            format!("continue={token}&resourceVersionMatch=NotOlderThan&resourceVersion={revision}"),
            invalid(with_token),
        ),
        (
            "sendInitialEvents=true".into(),
            invalid("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        ),
        (
            format!("continue={token}&resourceVersion={revision}"),
            "400 BadRequest: specifying resource version is not allowed when using continue".into(),
        ),
        (
            "resourceVersion=x".into(),
            "400 BadRequest: invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax".into(),
        ),
        (
            "resourceVersion=99999999999999999999".into(),
            "400 BadRequest: invalid resource version: resourceVersion: Invalid value: \"99999999999999999999\": strconv.ParseUint: parsing \"99999999999999999999\": value out of range".into(),
        ),
        ("limit=x".into(), "400 BadRequest: strconv.ParseInt: parsing \"x\": invalid syntax".into()),
        (
            format!("continue={}", token_of("{\"v\":\"v2\",\"rv\":4,\"start\":\"a\"}")),
            bad_token("server does not recognize this encoded version v2"),
        ),
        (
            format!("continue={}", token_of("{\"v\":\"meta.k8s.io/v1\",\"start\":\"a\"}")),
            bad_token("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        ),
        (
            format!("continue={}", token_of("{\"v\":\"meta.k8s.io/v1\",\"rv\":4}")),
            bad_token("encoded start key empty (version meta.k8s.io/v1)"),
        ),
        (
            format!("continue={}", token_of("{\"v\":\"meta.k8s.io/v1\",\"rv\":4,\"start\":\"../secrets\"}")),
            bad_token("../secrets"),
        ),
    ] {
        let answer = world.get(&format!("{MAPS}?{query}")).await;
        if expect.is_empty() {
            assert_eq!(answer.status, 200, "{query}: {:?}", answer.body);
        } else {
            assert_eq!(answer.said(), expect, "{query}");
        }
    }
    assert!(
        world
            .get(&format!("{MAPS}?continue=%21%21"))
            .await
            .said()
            .starts_with(&bad_token("illegal base64 data"))
    );
}

#[tokio::test]
async fn revision_from_the_future_times_out_and_asks_to_come_back() {
    let world = five().await;
    let far = "resourceVersion=99999999999";
    for url in [
        format!("{MAPS}?{far}"),
        format!("{MAPS}?{far}&limit=1"),
        format!("{MAPS}?{far}&resourceVersionMatch=Exact"),
        format!("{MAPS}/m0?{far}"),
    ] {
        let answer = world.get(&url).await;
        let said = answer.said();
        assert!(
            said.starts_with("504 Timeout: Timeout: Too large resource version: 99999999999, current: "),
            "{said}"
        );
        let details = &answer.json()["details"];
        assert_eq!(details["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(
            (&details["retryAfterSeconds"], &answer.headers["retry-after"]),
            (&json!(1), &"1".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn listed_revision_is_where_a_watch_goes_on() {
    let world = five().await;
    let list = world.get(MAPS).await.json();
    let revision: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let exact =
        world.get(&format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await.json();
    assert_eq!(names(&exact).len(), 5);
    let newest = world.get(&format!("{MAPS}/m4")).await.json();
    let newest: u64 = newest["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision >= newest);
}
