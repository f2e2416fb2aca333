/// Something that takes any bytes at all and must neither trap nor break what it promises. The same bodies run under libFuzzer
/// (`Fuzzer`, `make fuzz`) and in the tests, which replay the inputs that were found.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// A byte stream in pieces: the frames are the same however it is cut.
    case frames
    /// What a client or a server with a key gets to read from somebody without.
    case handshake
    /// The payload of a request, and what the state machine makes of it.
    case requests
    /// The payload of an answer, as a client reads it.
    case replies
    /// Ends the process when it gets to see a word. Proves that the fuzzer finds such things.
    case canary

    public func run(_ bytes: [UInt8]) {
        switch self {
        case .frames: fuzzFrames(bytes)
        case .handshake: fuzzHandshake(bytes)
        case .requests: fuzzRequest(bytes)
        case .replies: fuzzReply(bytes)
        case .canary: fuzzCanary(bytes)
        }
    }
}

func fuzzCanary(_ bytes: [UInt8]) {
    // One comparison after the other, so that coverage leads there.
    let word = Array("MoE!".utf8)
    for (index, byte) in word.enumerated() where index >= bytes.count || bytes[index] != byte { return }
    fatalError("the canary is dead")
}
