/// The request was refused and changed nothing.
public struct ErrorReply: ControlMessage {
    public static let type = "error"

    public var code: ControlError.Code
    public var message: String

    public init(_ error: ControlError) {
        code = error.code
        message = error.message
    }

    public var error: ControlError { ControlError(code, message) }
}
