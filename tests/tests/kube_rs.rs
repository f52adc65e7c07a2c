//! kube-rs as operators use it: a Controller with what it owns, a reflector in both watch modes, typed errors,
//! server-side apply.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blackbox::{Machine, SOON};
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Config, Error, Resource, ResourceExt};

async fn client(machine: &Machine) -> Client {
    let kubeconfig = Kubeconfig::read_from(machine.kubeconfig()).expect("kubeconfig");
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("config");
    Client::try_from(config).expect("client")
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("of".to_owned(), "kube-rs".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("value".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// Asks until it is so.
async fn eventually<F: Future<Output = Result<(), String>>>(what: &str, mut ask: impl FnMut() -> F) {
    let end = std::time::Instant::now() + SOON;
    loop {
        match ask().await {
            Ok(()) => return,
            Err(last) => assert!(std::time::Instant::now() < end, "{what}: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_typed_calls_answer_as_upstream_does() {
    let machine = Machine::server();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&machine).await);
    let post = PostParams::default();
    let made = maps.create(&post, &config_map("a", "1")).await.expect("create");
    match maps.create(&post, &config_map("a", "1")).await {
        Err(Error::Api(status)) => assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists")),
        other => panic!("{other:?}"),
    }
    let patch = serde_json::json!({"data": {"value": "2"}});
    let merged = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("merge");
    assert_eq!(merged.data.as_ref().map(|data| data["value"].as_str()), Some("2"));
    match maps.replace("a", &post, &made).await {
        Err(Error::Api(status)) => assert_eq!((status.code, status.reason.as_str()), (409, "Conflict")),
        other => panic!("{other:?}"),
    }
    assert!(maps.get_opt("none").await.expect("get").is_none());
    let page = maps.list(&ListParams::default().labels("of=kube-rs").limit(1)).await.expect("list");
    assert_eq!(page.items.len(), 1);
    let meta = maps.get_metadata("a").await.expect("metadata");
    assert_eq!(meta.name_any(), "a");
    assert!(
        maps.delete("a", &DeleteParams::default()).await.expect("delete").is_right(),
        "a Status: it is gone"
    );
}

/// A ConfigMap of nothing but what is applied.
fn applied(value: &str) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"value": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_applies_on_the_server() {
    let machine = Machine::server();
    let client = client(&machine).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let one = PatchParams::apply("one");
    let made = maps.patch("a", &one, &Patch::Apply(applied("1"))).await.expect("apply makes what is absent");
    let again = maps.patch("a", &one, &Patch::Apply(applied("1"))).await.expect("apply");
    assert_eq!(again.resource_version(), made.resource_version(), "nothing has changed");
    let two = PatchParams::apply("two");
    match maps.patch("a", &two, &Patch::Apply(applied("2"))).await {
        Err(Error::Api(status)) => {
            let told = "Apply failed with 1 conflict: conflict with \"one\": .data.value";
            assert_eq!((status.code, status.message.as_str()), (409, told));
            let cause = &status.details.as_ref().expect("details").causes[0];
            assert_eq!(
                (cause.reason.as_str(), cause.field.as_str()),
                ("FieldManagerConflict", ".data.value")
            );
        }
        other => panic!("{other:?}"),
    }
    let forced = maps.patch("a", &two.force(), &Patch::Apply(applied("2"))).await.expect("force");
    let owners: Vec<_> =
        forced.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert_eq!(owners, ["two"], "who owns nothing any more is not named");

    let sets: Api<DaemonSet> = Api::default_namespaced(client);
    let set = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "set"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"nodeSelector": {"nowhere": "true"}, "containers": [{"name": "c", "image": "example.com/c:1"}]},
            },
        },
    });
    sets.patch("set", &one, &Patch::Apply(&set)).await.expect("apply");
    let status = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "status": {"conditions": [{"type": "Seen", "status": "True", "reason": "Test", "message": ""}]},
    });
    let params = PatchParams::apply("watcher").force();
    let seen = sets.patch_status("set", &params, &Patch::Apply(&status)).await.expect("apply of the status");
    let conditions = seen.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    assert_eq!(conditions.len(), 1, "{seen:?}");
    let unseen = serde_json::json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "status": {}});
    let unseen =
        sets.patch_status("set", &params, &Patch::Apply(&unseen)).await.expect("apply of the status");
    assert!(unseen.status.is_some_and(|status| status.conditions.is_none_or(|all| all.is_empty())));
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_reflectors_follow_in_both_watch_modes() {
    let machine = Machine::server();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&machine).await);
    maps.create(&PostParams::default(), &config_map("before", "1")).await.expect("create");
    for (mode, config) in [
        ("list and watch", watcher::Config::default()),
        ("streaming list", watcher::Config::default().streaming_lists()),
    ] {
        let (reader, writer) = reflector::store();
        let stream = reflector(writer, watcher(maps.clone(), config.labels("of=kube-rs"))).applied_objects();
        let task = tokio::spawn(stream.for_each(|_| std::future::ready(())));
        let values = || -> BTreeMap<String, String> {
            let value = |map: &Arc<ConfigMap>| {
                map.data.clone().unwrap_or_default().remove("value").unwrap_or_default()
            };
            reader.state().iter().map(|map| (map.name_any(), value(map))).collect()
        };
        let is = |wanted: &[(&str, &str)]| {
            let wanted: BTreeMap<String, String> =
                wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let seen = values();
            std::future::ready(if seen == wanted { Ok(()) } else { Err(format!("{mode}: {seen:?}")) })
        };
        eventually("what is there", || is(&[("before", "1")])).await;
        maps.create(&PostParams::default(), &config_map("later", "1")).await.expect("create");
        let patch = serde_json::json!({"data": {"value": "2"}});
        maps.patch("later", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patch");
        eventually("what comes and changes", || is(&[("before", "1"), ("later", "2")])).await;
        let unlabelled = serde_json::json!({"metadata": {"labels": {"of": null}}});
        maps.patch("later", &PatchParams::default(), &Patch::Merge(&unlabelled)).await.expect("patch");
        eventually("what is no longer selected", || is(&[("before", "1")])).await;
        maps.delete("later", &DeleteParams::default()).await.expect("delete");
        task.abort();
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the owned object could not be written")]
struct Failed(#[source] Error);

/// Every ConfigMap gets a Secret with its value, which it owns: applied, whether or not it is there.
async fn copy(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, Failed> {
    let secrets: Api<Secret> = Api::namespaced((*client).clone(), &map.namespace().unwrap_or_default());
    let name = map.name_any();
    let owner: OwnerReference = map.controller_owner_ref(&()).expect("it is stored");
    let wanted = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: map
            .data
            .clone()
            .map(|data| data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    };
    secrets.patch(&name, &PatchParams::apply("copier"), &Patch::Apply(&wanted)).await.map_err(Failed)?;
    Ok(Action::await_change())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_rs_controller_keeps_what_it_owns() {
    let machine = Machine::server();
    let client = client(&machine).await;
    let (maps, secrets): (Api<ConfigMap>, Api<Secret>) =
        (Api::default_namespaced(client.clone()), Api::default_namespaced(client.clone()));
    let selected = watcher::Config::default().labels("of=kube-rs");
    let controller =
        Controller::new(maps.clone(), selected).owns(secrets.clone(), watcher::Config::default());
    let again = |_: Arc<ConfigMap>, _: &Failed, _: Arc<Client>| Action::requeue(Duration::from_millis(100));
    let running = controller.run(copy, again, Arc::new(client)).for_each(|_| std::future::ready(()));
    let task = tokio::spawn(running);

    maps.create(&PostParams::default(), &config_map("owner", "1")).await.expect("create");
    let holds = |value: &'static str| {
        let secrets = secrets.clone();
        move || {
            let secrets = secrets.clone();
            async move {
                let secret = secrets.get_opt("owner").await.map_err(|error| error.to_string())?;
                let found = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove("value"));
                let found = found.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
                if found.as_deref() == Some(value) { Ok(()) } else { Err(format!("{found:?}")) }
            }
        }
    };
    eventually("its Secret is made", holds("1")).await;
    secrets.delete("owner", &DeleteParams::default()).await.expect("delete");
    eventually("it is made again", holds("1")).await;
    let patch = serde_json::json!({"data": {"value": "2"}});
    maps.patch("owner", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patch");
    eventually("it follows its owner", holds("2")).await;
    task.abort();
    maps.delete("owner", &DeleteParams::background()).await.expect("delete");
    eventually("it goes with its owner", || {
        let secrets = secrets.clone();
        async move {
            match secrets.get_opt("owner").await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
    })
    .await;
}
