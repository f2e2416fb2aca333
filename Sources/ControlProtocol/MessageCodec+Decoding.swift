import ExpertPlacement
import Foundation

/// A request, or what is wrong with it.
public struct IncomingRequest: Sendable {
    /// Nil when it could not be read.
    public let requestID: Int?
    public let request: Result<AnyRequest, ControlError>
}

extension MessageCodec {
    /// Reads a request as the coordinator does. Never throws: what is wrong is part of the result, with the request id where
    /// that could be read.
    public static func request(_ payload: Data, limits: Limits = .standard) -> IncomingRequest {
        IncomingRequest(plainReport: payload, limits: limits) ?? decodedRequest(payload, limits: limits)
    }

    /// Reads a request of any form.
    package static func decodedRequest(_ payload: Data, limits: Limits) -> IncomingRequest {
        do {
            return try decoder(limits).decode(IncomingRequest.self, from: payload)
        } catch {
            return IncomingRequest(requestID: nil, request: .failure(.unreadable(error)))
        }
    }

    /// Reads an answer that should be a `Reply`.
    /// - Throws: the error that the coordinator answered with, or `protocol_violation`.
    package static func reply<Reply: ControlMessage>(_ payload: Data, as: Reply.Type) throws(ControlError) -> Reply {
        do {
            return try decoder(.standard).decode(ReplyEnvelope<Reply>.self, from: payload).result.get()
        } catch let error as ControlError {
            throw error
        } catch {
            throw .unreadableAnswer(error)
        }
    }

    /// The id that an answer carries; nil in an error about a message whose id could not be read.
    static func requestID(ofReply payload: Data) throws(ControlError) -> Int? {
        struct Header: Decodable {
            let requestID: Int?
            enum CodingKeys: String, CodingKey { case requestID = "request_id" }
        }
        do {
            return try decoder(.standard).decode(Header.self, from: payload).requestID
        } catch {
            throw .unreadableAnswer(error)
        }
    }

    private static func decoder(_ limits: Limits) -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.userInfo[.limits] = limits
        return decoder
    }
}

extension IncomingRequest: Decodable {
    public init(from decoder: any Decoder) throws {
        let limits = decoder.userInfo[.limits] as? Limits ?? .standard
        let values = try decoder.container(keyedBy: EnvelopeKeys.self)
        let id = try values.decode(Int.self, forKey: .requestID)
        guard (0...limits.integer).contains(id) else {
            throw ControlError(.badRequest, "request_id is \(id), but must be from 0 to \(limits.integer)")
        }
        requestID = id
        do {
            let version = try values.decode(Int.self, forKey: .version)
            guard version == ControlProtocolVersion.current else {
                throw ControlError(
                    .unsupportedVersion,
                    "version \(version) of the protocol; this coordinator speaks \(ControlProtocolVersion.current)")
            }
            let decoded = try AnyRequest(type: values.decode(String.self, forKey: .type), from: decoder)
            try decoded.message.validate(within: limits)
            request = .success(decoded)
        } catch {
            request = .failure(.unreadable(error))
        }
    }
}

/// An answer of the type that a request asks for, or an error.
private struct ReplyEnvelope<Reply: ControlMessage>: Decodable {
    let result: Result<Reply, ControlError>

    init(from decoder: any Decoder) throws {
        let type = try decoder.container(keyedBy: EnvelopeKeys.self).decode(String.self, forKey: .type)
        switch type {
        case Reply.type: result = try .success(Reply(from: decoder))
        case ErrorReply.type: result = try .failure(ErrorReply(from: decoder).error)
        default:
            throw ControlError(
                .protocolViolation, "the coordinator answered with \"\(type.prefix(64))\" instead of \"\(Reply.type)\"")
        }
    }
}

extension ControlError {
    fileprivate static func unreadableAnswer(_ error: any Error) -> ControlError {
        ControlError(.protocolViolation, "the coordinator's answer cannot be read: \(brief(error))")
    }

    fileprivate static func unreadable(_ error: any Error) -> ControlError {
        switch error {
        case let error as ControlError: error
        case let error as PlacementError: ControlError(.unsuitablePlan, "\(error)")
        default: ControlError(.badRequest, ControlError.brief(error))
        }
    }
}

extension CodingUserInfoKey {
    // The name is no empty string, the only one that is refused.
    fileprivate static let limits = CodingUserInfoKey(rawValue: "limits")!
}
