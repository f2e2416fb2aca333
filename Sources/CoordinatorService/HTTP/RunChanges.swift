import ControlProtocol
import CoordinatorCore
import Synchronization

/// Counts what is committed, so that whoever waits for news need not ask the database.
package final class RunChanges: Sendable {
    package struct Counts: Hashable, Sendable {
        /// Grows with every change.
        package var all: Int
        /// Grows with every change of a plan or of the planning.
        package var plans: Int
    }

    private struct State {
        var total: Counts
        var runs: [String: Counts] = [:]
    }

    /// What a run has that nothing was heard of: more than an earlier process can have counted, at a change a millisecond.
    private let start: Counts
    private let state: Mutex<State>

    package init(start: Timestamp = .now()) {
        let start = Counts(all: Int(clamping: start.milliseconds), plans: Int(clamping: start.milliseconds))
        self.start = start
        state = Mutex(State(total: start))
    }

    /// After they were committed.
    func record(_ changes: [Change]) {
        state.withLock { state in
            for change in changes {
                state.total.all += 1
                state.runs[change.run, default: start].all += 1
                if change.isAboutPlans { state.runs[change.run, default: start].plans += 1 }
            }
        }
    }

    /// - Parameter run: nil: of all of them.
    package func counts(of run: String?) -> Counts {
        state.withLock { state in run.map { state.runs[$0, default: start] } ?? state.total }
    }
}

extension Change {
    fileprivate var isAboutPlans: Bool {
        switch self {
        case .putRun, .addPlan, .setPlanState, .setPlanProgress, .setPlanObservation, .setPlanning: true
        case .addIncarnation, .putWorker, .addReport, .dropReports, .addCheckpoint, .endIncarnation, .raiseRevision,
            .archiveRun, .deleteRun, .addEvent:
            false
        }
    }
}
