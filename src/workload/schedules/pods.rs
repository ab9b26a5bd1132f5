//! What the processes of the pods do.

use std::{fs, time::Duration};

use super::{Pod, Process, World};
use crate::workload::{
    Error,
    epoch::{Claims, Identity},
    standby,
    writer::{Writer, origin, restore},
};

impl World {
    pub(super) fn run(&mut self, pod: usize, answered: bool) {
        match self.pods[pod].process {
            Process::Down => self.start(pod),
            Process::StandingBy { .. } => self.begin(pod),
            Process::Restored { .. } => self.claim(pod),
            Process::Training { .. } => self.step(pod),
            Process::Holding { .. } => self.expire(pod, answered),
        }
    }

    pub(super) fn start(&mut self, number: usize) {
        let view = self.view(number);
        let pod = &mut self.pods[number];
        if pod.ended {
            return;
        }
        let life = uuid::Uuid::new_v4().to_string();
        let who = Identity {
            life,
            ..pod.who.clone()
        };
        let Ok(claimed) = Claims::of(&view).list() else {
            return;
        };
        if pod.stands_by && who.first_of(&claimed).is_none() {
            pod.process = Process::StandingBy { who };
            return;
        }
        let Ok(known) = origin(&view, &who) else { return };
        let floor = pod.floor.clone().or(known);
        if let Ok(restored) = restore(&view, &who, floor.as_deref(), &mut pod.weights) {
            let step = restored.map_or(0, |restored| restored.step);
            pod.process = Process::Restored { who, step, floor };
        }
    }

    /// What a process that stands by does when it was told to take over.
    pub(super) fn begin(&mut self, number: usize) {
        let view = self.view(number);
        let Pod {
            process,
            told,
            weights,
            ..
        } = &mut self.pods[number];
        let (Process::StandingBy { who }, Some(asked)) = (&*process, told) else {
            return;
        };
        *process = match standby::take_over(&view, who, asked, weights, Duration::ZERO) {
            Ok(begun) => {
                let step = begun.restored.map_or(0, |restored| restored.step);
                assert!(step >= self.verified, "pod {number} takes over at {step}");
                let life = who.life.clone();
                Process::Training {
                    life,
                    writer: begun.writer,
                    step,
                }
            }
            Err(_) => Process::Down,
        };
    }

    pub(super) fn claim(&mut self, number: usize) {
        let view = self.view(number);
        let pod = &mut self.pods[number];
        let Process::Restored { who, step, floor } = &pod.process else {
            return;
        };
        let (life, step) = (who.life.clone(), *step);
        let claimed = Writer::claim(&view, who.clone(), step, floor.clone());
        pod.process = match claimed {
            Ok(writer) => {
                assert!(step >= self.verified, "pod {number} begins at {step}");
                Process::Training { life, writer, step }
            }
            Err(_) => Process::Down,
        };
    }

    pub(super) fn step(&mut self, number: usize) {
        let newest = self.newest();
        let cut = fs::read_dir(self.view(number)).is_err();
        let process = &mut self.pods[number].process;
        let Process::Training { life, writer, step } = process else {
            return;
        };
        if writer.check().is_err() {
            *process = Process::Down;
            return;
        }
        *step += 1;
        let epoch = writer.epoch();
        assert!(
            !self.handed_over.contains(&epoch),
            "pod {number} steps in epoch {epoch}"
        );
        let by = self.stepped.entry(writer.epoch()).or_insert_with(|| life.clone());
        assert_eq!(by, life, "two writers in epoch {}", writer.epoch());
        assert!(
            cut || newest.is_some_and(|(epoch, _)| epoch == writer.epoch()),
            "a superseded writer steps"
        );
    }

    pub(super) fn expire(&mut self, number: usize, answered: bool) {
        let Pod { who, process, .. } = &mut self.pods[number];
        let Process::Holding {
            life, writer, step, ..
        } = process
        else {
            return;
        };
        let mut next = writer.clone();
        match next.go_on(*step, who.over.clone()) {
            Ok(()) if answered => {
                assert!(*step >= self.verified, "pod {number} goes on from {step}");
                *process = Process::Training {
                    life: life.clone(),
                    writer: next,
                    step: *step,
                };
            }
            Err(Error::Superseded { .. }) => *process = Process::Down,
            Ok(()) | Err(_) => {}
        }
    }
}
