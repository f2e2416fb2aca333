import ControlProtocol
import ControlTestSupport
import Foundation

/// What a coordinator, or what poses as one, may send to a request: refusals, and what refuses nothing.
enum HostileAnswer: CaseIterable {
    case refusal
    /// Of a newer coordinator.
    case refusalByAnotherCode
    case connectionRefused
    case unreadable
    case tooLong
    case anotherMessage
    case incomplete

    var isRefusal: Bool { self == .refusal || self == .refusalByAnotherCode }

    func send(over connection: ScriptedServer.Connection, id: Int) throws {
        switch self {
        case .refusal: try connection.answer(ErrorReply(ControlError(.invalidTransition, "not so")), id: id)
        case .refusalByAnotherCode:
            let code = ControlError.Code(rawValue: "of_next_year")
            try connection.answer(ErrorReply(ControlError(code, "not so either")), id: id)
        case .connectionRefused: try connection.answer(ErrorReply(ControlError(.overloaded, "too many")), id: nil)
        case .unreadable: try connection.send(Frame.encode(Data("hello".utf8)))
        case .tooLong: try connection.send(Data([255, 255, 255, 255]))
        case .anotherMessage: try connection.answer(Runs(runs: [], truncated: false), id: id)
        case .incomplete: try connection.send(Frame.encode(Data("{\"request_id\":\(id)}".utf8)))
        }
    }
}
