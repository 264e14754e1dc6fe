//! The few calls of the API that the demonstration makes.

use std::net::SocketAddr;

use anyhow::bail;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::view::{
    AcceptedView, BuildSummary, CostReport, ExplanationView, MachineView, Page, PipelineDetail,
};
use crate::clock::{Clock, SystemClock};

use super::LOOK;
use super::documents::Document;

#[derive(Debug)]
pub(super) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            base: format!("http://{address}"),
            http: reqwest::Client::new(),
        }
    }

    /// Waits until the engine has loaded its state.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        while !self
            .http
            .get(format!("{}/readyz", self.base))
            .send()
            .await?
            .status()
            .is_success()
        {
            SystemClock.sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) async fn apply(&self, images: &[Document]) -> anyhow::Result<()> {
        let mut declarations: Vec<Value> = images
            .iter()
            .map(|image| json!({"kind": "image", "file": image.name, "text": image.text}))
            .collect();
        let policy = super::documents::POLICY;
        declarations.push(json!({"kind": "policy", "file": "policy", "text": policy}));
        let body = json!({"declarations": declarations});
        let request = self.http.post(self.url("/apply")).json(&body);
        let _: Value = value(request).await?;
        Ok(())
    }

    pub(super) async fn submit(&self, document: &str) -> anyhow::Result<AcceptedView> {
        let request = self
            .http
            .post(self.url("/pipelines"))
            .body(document.to_owned());
        value(request.header("content-type", "application/yaml")).await
    }

    pub(super) async fn builds(&self, pipeline: &str) -> anyhow::Result<Vec<BuildSummary>> {
        let url = self.url(&format!("/pipelines/{pipeline}"));
        let detail: PipelineDetail = value(self.http.get(url)).await?;
        Ok(detail.builds)
    }

    pub(super) async fn machines(&self, with_gone: bool) -> anyhow::Result<Vec<MachineView>> {
        let url = self.url(&format!("/machines?all={with_gone}&limit=200"));
        let page: Page<MachineView> = value(self.http.get(url)).await?;
        Ok(page.items)
    }

    pub(super) async fn log(&self, build: &str) -> anyhow::Result<String> {
        let answer = self
            .http
            .get(self.url(&format!("/builds/{build}/log")))
            .send()
            .await?;
        Ok(String::from_utf8_lossy(&answer.bytes().await?).into_owned())
    }

    pub(super) async fn explain(&self, build: &str) -> anyhow::Result<String> {
        let url = self.url(&format!("/builds/{build}/explain"));
        let explanation: ExplanationView = value(self.http.get(url)).await?;
        Ok(explanation.summary)
    }

    pub(super) async fn cost(&self) -> anyhow::Result<CostReport> {
        value(self.http.get(self.url("/cost?by=build&limit=200"))).await
    }

    /// Ends whatever is there, as well as that goes.
    pub(super) async fn end_all(&self) {
        let deadline = SystemClock.now() + super::FAREWELL;
        while SystemClock.now() < deadline {
            let Ok(machines) = self.machines(false).await else {
                return;
            };
            if machines.is_empty() {
                return;
            }
            for machine in machines {
                for build in &machine.builds {
                    self.post(&format!("/builds/{build}/cancel")).await;
                }
                self.post(&format!("/machines/{}/end", machine.id)).await;
            }
            SystemClock.sleep(LOOK).await;
        }
    }

    /// A wish whose failure shows in what is there afterwards.
    async fn post(&self, path: &str) {
        if let Err(error) = self.http.post(self.url(path)).send().await {
            tracing::debug!(%error, path, "not asked");
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }
}

async fn value<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        bail!("the server answered {status}: {body}");
    }
    Ok(serde_json::from_str(&body)?)
}
