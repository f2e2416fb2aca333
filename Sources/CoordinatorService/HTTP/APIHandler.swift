import ControlProtocol
import FlyingFox
import Foundation
import Logging

/// Answers what begins with `/api/`, from the same queries as the control protocol.
struct APIHandler: Sendable {
    private let store: CoordinatorStore
    private let changes: RunChanges
    private let limits: Limits
    private let logger: Logger
    /// However many ask, a commit waits for few of them.
    private let turnstile: Turnstile

    init(store: CoordinatorStore, changes: RunChanges, limits: Limits, logger: Logger) {
        self.store = store
        self.changes = changes
        self.limits = limits
        self.logger = logger
        turnstile = Turnstile(limits.httpReads)
    }

    /// Never fails: what is wrong is the answer.
    func answer(to request: HTTPRequest) async -> HTTPAnswer {
        do {
            let path = request.target.path()
            for endpoint in APIEndpoint.all {
                guard let run = endpoint.run(in: path) else { continue }
                let arguments = try APIArguments(run: run, query: request.target.query(), endpoint.parameters)
                return try await turnstile.pass { try await answer(to: request, at: endpoint, arguments) }
            }
            let error = ControlError(
                .badRequest, "there is nothing at this path; schemas/openapi.json says what there is")
            return .response(Self.refusal(error, status: .notFound))
        } catch let error as ControlError {
            return .response(Self.refusal(error, status: Self.status(error.code)))
        } catch {
            logger.error("the database cannot be read", metadata: ["reason": "\(StoreError.reason(error))"])
            return .response(Self.refusal(.storageUnavailable(error), status: .serviceUnavailable))
        }
    }

    private func answer(
        to request: HTTPRequest, at endpoint: APIEndpoint, _ arguments: APIArguments
    ) async throws -> HTTPAnswer {
        if let answer = endpoint.answer { return .response(.json(.ok, try await answer(arguments, store, limits))) }
        let run = arguments.run
        if let run { try ShowRun(run: run).validate(within: limits) }
        let stream = try await LiveStream(of: run, store: store, changes: changes, limits: limits)
        return request.method == .HEAD ? .response(LiveStream.head) : .stream(stream)
    }

    static func refusal(_ error: ControlError, status: HTTPStatusCode) -> HTTPResponse {
        // Text can always be written.
        .json(status, (try? MessageCodec.payload(ErrorReply(error), requestID: nil)) ?? Data())
    }

    private static func status(_ code: ControlError.Code) -> HTTPStatusCode {
        switch code {
        case .unknownRun, .unknownRevision, .unknownLayer, .unknownStep: .notFound
        case .badRequest, .limitExceeded: .badRequest
        default: .serviceUnavailable
        }
    }
}
