import ControlProtocol
import Foundation

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
    read(RunRegistered.self)
    read(WorkerRegistered.self)
    read(Acknowledged.self)
    read(PlanOffer.self)
    read(PlacementProposed.self)
    read(PlanningState.self)
    read(Runs.self)
    read(RunShown.self)
    read(Placement.self)
    read(Plans.self)
    read(Workers.self)
    read(DatabaseBackedUp.self)
    read(RunArchived.self)
    read(RunDeleted.self)
    read(ErrorReply.self)
}
