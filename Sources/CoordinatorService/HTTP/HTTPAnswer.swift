import FlyingFox

/// What is told over a connection: one thing, or news for as long as somebody listens.
enum HTTPAnswer: Sendable {
    case response(HTTPResponse)
    case stream(LiveStream)
}
