import ControlProtocol
import Foundation

extension FuzzTarget {
    /// All kinds of answers.
    package static let answers: [any ControlMessage.Type] = [
        RunRegistered.self, WorkerRegistered.self, Acknowledged.self, PlanOffer.self, PlacementProposed.self,
        PlanningState.self, Runs.self, RunShown.self, Placement.self, Plans.self, Workers.self, Intervals.self,
        Loads.self,
        Timings.self, Events.self, RecordedCheckpoints.self, WorldJoined.self, DatabaseBackedUp.self, RunArchived.self,
        RunDeleted.self, ErrorReply.self,
    ]
}

/// Read as every kind of answer. What can be read can be written, unless it is too long.
func fuzzReply(_ bytes: [UInt8]) {
    let payload = Data(bytes)
    func read<Reply: ControlMessage>(_: Reply.Type) {
        guard let reply = try? MessageCodec.reply(payload, as: Reply.self) else { return }
        do {
            let frame = try MessageCodec.frame(reply, requestID: 1)
            _ = try MessageCodec.reply(frame.dropFirst(Frame.headerBytes), as: Reply.self)
        } catch {
            fatalError("\(Reply.type) cannot be written and read again: \(error)")
        }
    }
    for kind in FuzzTarget.answers { read(kind) }
}
