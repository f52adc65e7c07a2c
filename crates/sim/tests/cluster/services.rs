//! Services and disruption budgets over the Pods of a DaemonSet: what charts and a drain rely on.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Error};
use serde_json::json;

use crate::world::World;

async fn create<K>(world: &World, object: serde_json::Value) -> K
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + k8s_openapi::serde::Serialize
        + k8s_openapi::serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("object");
    world.api::<K>("default").create(&PostParams::default(), &object).await.expect("create")
}

fn addresses(endpoints: &Endpoints) -> usize {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_endpoints_follow_its_pods_and_go_with_it() {
    let world = World::start(3).await;
    let spec = json!({"selector": {"app": "agent"}, "ports": [{"port": 80}]});
    create::<Service>(&world, json!({"metadata": {"name": "agent"}, "spec": spec})).await;
    let endpoints: Api<Endpoints> = world.api("default");
    let slices: Api<EndpointSlice> = world.api("default");
    let of_service = ListParams::default().labels("kubernetes.io/service-name=agent");
    let ready = || async {
        let known = endpoints.get_opt("agent").await.expect("get");
        let slices = slices.list(&of_service).await.expect("list").items;
        let all = slices.iter().flat_map(|slice| &slice.endpoints);
        let ready = all.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count();
        (known.as_ref().map(addresses), ready, slices.len())
    };
    let is = |wanted: (Option<usize>, usize, usize)| {
        let ready = &ready;
        move || async move {
            let seen = ready().await;
            (seen == wanted).then_some(()).ok_or(format!("{seen:?}"))
        }
    };
    world.eventually("a Service without Pods leads nowhere", is((Some(0), 0, 1))).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 3).await;
    world.eventually("every ready Pod is an endpoint", is((Some(3), 3, 1))).await;
    world.api::<DaemonSet>("default").delete("agent", &DeleteParams::background()).await.expect("delete");
    world.eventually("Pods that went are none", is((Some(0), 0, 1))).await;
    world.api::<Service>("default").delete("agent", &DeleteParams::default()).await.expect("delete");
    world.eventually("nothing is left of the Service", is((None, 0, 0))).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_counted_spent_by_an_eviction_and_filled_again() {
    let world = World::start(3).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 3).await;
    let spec = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": "agent"}}});
    create::<PodDisruptionBudget>(&world, json!({"metadata": {"name": "agent"}, "spec": spec})).await;
    let budgets: Api<PodDisruptionBudget> = world.api("default");
    let one_may_go = || async {
        let status = budgets.get("agent").await.expect("get").status.unwrap_or_default();
        let counted = (status.expected_pods, status.current_healthy, status.disruptions_allowed);
        (counted == (3, 3, 1) && status.disrupted_pods.is_none()).then_some(()).ok_or(format!("{status:?}"))
    };
    world.eventually("one may go", one_may_go).await;
    let pods: Api<Pod> = world.api("default");
    let names: Vec<String> =
        world.pods("default").await.into_iter().filter_map(|pod| pod.metadata.name).collect();
    pods.evict(&names[0], &EvictParams::default()).await.expect("evict");
    match pods.evict(&names[1], &EvictParams::default()).await {
        Err(Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"))
        }
        other => panic!("{other:?}"),
    }
    world.eventually("its place is taken, and one may go again", one_may_go).await;
    assert!(pods.get_opt(&names[0]).await.expect("get").is_none(), "the Pod has gone");
    pods.evict(&names[1], &EvictParams::default()).await.expect("evict");

    let share = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "agent"}}});
    create::<PodDisruptionBudget>(&world, json!({"metadata": {"name": "share"}, "spec": share})).await;
    world
        .eventually("a share of a DaemonSet cannot be counted and says so", || async {
            let status = budgets.get("share").await.expect("get").status.unwrap_or_default();
            let told = status.conditions.iter().flatten().find(|c| c.type_ == "DisruptionAllowed");
            let told = told.map(|c| format!("{} {}: {}", c.status, c.reason, c.message)).unwrap_or_default();
            let wanted = "False SyncFailed: daemonsets.apps does not implement the scale subresource";
            (told == wanted).then_some(()).ok_or(told)
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_made_by_hand_are_mirrored_as_slices_and_those_go_with_them() {
    let world = World::start(1).await;
    let spec = json!({"ports": [{"port": 5432}]});
    create::<Service>(&world, json!({"metadata": {"name": "db"}, "spec": spec})).await;
    let subsets =
        json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]);
    create::<Endpoints>(&world, json!({"metadata": {"name": "db"}, "subsets": subsets})).await;
    let slices: Api<EndpointSlice> = world.api("default");
    let of_service = ListParams::default().labels("kubernetes.io/service-name=db");
    let mirrored = |wanted: &'static [&'static str]| {
        let (slices, of_service) = (&slices, &of_service);
        move || async move {
            let found = slices.list(of_service).await.expect("list").items;
            let all = found.iter().flat_map(|slice| &slice.endpoints).flat_map(|known| &known.addresses);
            let all: Vec<&str> = all.map(String::as_str).collect();
            (all == wanted).then_some(()).ok_or(format!("{all:?}"))
        }
    };
    world.eventually("each address is an endpoint", mirrored(&["192.0.2.1", "192.0.2.2"])).await;
    let endpoints: Api<Endpoints> = world.api("default");
    let fewer = json!({"subsets": [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]});
    endpoints.patch("db", &PatchParams::default(), &Patch::Merge(&fewer)).await.expect("patch");
    world.eventually("slices follow", mirrored(&["192.0.2.2"])).await;
    endpoints.delete("db", &DeleteParams::default()).await.expect("delete");
    world.eventually("and go with it", mirrored(&[])).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_a_disruption_that_did_not_come_is_taken_back() {
    let world = World::start(1).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 1).await;
    let pods: Api<Pod> = world.api("default");
    let name = world.pods("default").await.into_iter().find_map(|pod| pod.metadata.name).expect("a Pod");
    let mark = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&mark)).await.expect("mark");
    world
        .eventually("the mark is taken back", || async {
            let status = pods.get(&name).await.expect("get").status.unwrap_or_default();
            let mark =
                status.conditions.into_iter().flatten().find(|known| known.type_ == "DisruptionTarget");
            let seen = mark.map(|mark| (mark.status, mark.reason));
            (seen == Some(("False".to_owned(), None))).then_some(()).ok_or(format!("{seen:?}"))
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_named_in_extensions_owns_goes_with_it() {
    let world = World::start(1).await;
    let owner = world.create_daemon_set("default", "agent").await;
    let uid = owner.metadata.uid.expect("uid");
    let owned = |name: &str, uid: &str| {
        json!({"metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "extensions/v1beta1", "kind": "DaemonSet", "name": "agent", "uid": uid}]}})
    };
    create::<ConfigMap>(&world, owned("owned", &uid)).await;
    create::<ConfigMap>(&world, owned("stranger", "another-uid")).await;
    let maps: Api<ConfigMap> = world.api("default");
    let gone = |name: &'static str| {
        let maps = maps.clone();
        move || {
            let maps = maps.clone();
            async move { maps.get_opt(name).await.expect("get").is_none().then_some(()).ok_or(name.to_owned()) }
        }
    };
    world.eventually("an owner that never was is absent", gone("stranger")).await;
    assert!(maps.get_opt("owned").await.expect("get").is_some(), "its owner is found in apps");
    world.api::<DaemonSet>("default").delete("agent", &DeleteParams::background()).await.expect("delete");
    world.eventually("it goes with its owner", gone("owned")).await;
    world.end().await;
}
