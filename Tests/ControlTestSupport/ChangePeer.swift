import ControlProtocol
import CoordinatorCore
import Foundation

/// Something that answers requests which change state: the state machine by itself, or a running coordinator. The same test
/// bodies run against both.
public protocol ChangePeer: Sendable {
    func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply
}

/// The state machine with a list for a database.
public actor InProcessPeer: ChangePeer {
    private var core: CoordinatorCore
    public private(set) var changes: [Change] = []

    public init(limits: Limits = .standard) {
        core = CoordinatorCore(limits: limits)
    }

    public func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply {
        let change: ChangeRequest
        switch request {
        case let request as RegisterRun: change = .registerRun(request)
        case let request as RegisterWorker: change = .registerWorker(request)
        case let request as Report: change = .report(request)
        case let request as FinishRun: change = .finishRun(request)
        default: throw ControlError(.unknownType, "\(Request.type) changes nothing")
        }
        var reply: (any ControlMessage)?
        for action in core.handle(.requested(change, Ticket(0)), at: Timestamp(milliseconds: 0)) {
            switch action {
            case .store(let change): changes.append(change)
            case .answer(_, .refused(let error)): throw error
            case .answer(_, .runRegistered(let message)): reply = message
            case .answer(_, .workerRegistered(let message)): reply = message
            case .answer(_, .acknowledged(let message)): reply = message
            }
        }
        _ = core.handle(.committed, at: Timestamp(milliseconds: 0))
        guard let reply = reply as? Request.Reply else { throw ControlError(.protocolViolation, "no answer") }
        return reply
    }
}

extension ControlClient: ChangePeer {
    public func send<Request: ControlRequest>(_ request: Request) async throws(ControlError) -> Request.Reply {
        try await send(request, timeout: .seconds(20))
    }
}
