//! What policies say of whose builds may follow one another, for machines and for classes of builds.

use std::collections::BTreeMap;

use crate::model::{Build, BuildId, Reuse};
use crate::planner::{Candidate, ClassId, ImageIndex, ProjectIndex};
use crate::policy;

use super::books::Books;

impl Books {
    /// What holds for machines of an image after builds of a project. Asked at every change of a
    /// machine, so each answer is kept until policies change.
    pub(super) fn reuse_on(&mut self, image: ImageIndex, project: Option<ProjectIndex>) -> Reuse {
        if let Some(known) = self.reuse.get(&(image, project)) {
            return *known;
        }
        let name = project.and_then(|project| self.snapshot.projects.get(project.0));
        let subject = policy::Subject {
            project: name.map(|project| project.name.as_str()),
            ..self.subject_of(image)
        };
        let reuse = policy::effective(self.policies.values(), &subject)
            .terms
            .reuse;
        self.reuse.insert((image, project), reuse);
        reuse
    }

    /// What a build wants on machines of an image.
    pub(super) fn reuse_for(&self, build: &Build, image: ImageIndex) -> Reuse {
        let subject = policy::Subject {
            project: Some(&build.spec.project),
            labels: Some(&build.spec.labels),
            priority: Some(build.spec.priority),
            ..self.subject_of(image)
        };
        policy::effective(self.policies.values(), &subject)
            .terms
            .reuse
    }

    /// What builds like this one want, where that is not anybody.
    pub(super) fn reuse_of_build(
        &self,
        build: &Build,
        candidates: &[Candidate],
    ) -> BTreeMap<ImageIndex, Reuse> {
        if self
            .policies
            .values()
            .all(|policy| policy.spec.reuse.is_none())
        {
            return BTreeMap::new();
        }
        let wanted = candidates
            .iter()
            .map(|candidate| (candidate.image, self.reuse_for(build, candidate.image)));
        wanted.filter(|(_, reuse)| *reuse != Reuse::Any).collect()
    }

    /// The same of a class, by its first build: what it has in common with the others is all that
    /// policies can ask for.
    pub(super) fn reuse_of_class(
        &self,
        id: ClassId,
        candidates: &[Candidate],
    ) -> BTreeMap<ImageIndex, Reuse> {
        let class = self.snapshot.classes.get(&id);
        let first = class.and_then(|class| {
            let later = class.later.first().map(|(_, key)| key);
            class.ready.first().or(later).or(class.coming.first())
        });
        let build = first.and_then(|key| self.builds.get(&key.build));
        build.map_or_else(BTreeMap::new, |build| {
            self.reuse_of_build(build, candidates)
        })
    }

    /// What a queued build wants of a machine's image.
    pub(super) fn wish_of(&self, build: BuildId, image: &str) -> Reuse {
        let index = self.indices.get(image).copied();
        let build = self.builds.get(&build);
        build
            .zip(index)
            .map_or(Reuse::Any, |(build, index)| self.reuse_for(build, index))
    }

    fn subject_of(&self, image: ImageIndex) -> policy::Subject<'_> {
        let name = self.snapshot.image(image).map(|view| view.name.as_str());
        let image = name.and_then(|name| self.image(name));
        policy::Subject {
            image: name,
            provider: image.map(|image| image.spec.provider.as_str()),
            ..policy::Subject::default()
        }
    }
}
