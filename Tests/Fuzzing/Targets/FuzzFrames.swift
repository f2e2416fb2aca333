import ControlProtocol
import Foundation

/// The first byte says how the others are cut. A small frame limit lets lengths over it occur.
func fuzzFrames(_ bytes: [UInt8]) {
    guard let first = bytes.first else { return }
    var limits = Limits()
    limits.frameBytes = 1 << 10
    let stream = bytes.dropFirst()
    let whole = frames(of: [stream], limits)
    let size = 1 + Int(first) % 13
    let pieces = stride(from: stream.startIndex, to: stream.endIndex, by: size).map {
        stream[$0..<min($0 + size, stream.endIndex)]
    }
    precondition(frames(of: pieces, limits) == whole, "other frames when the stream is cut")
    // What was taken apart goes together again.
    let again = whole.payloads.compactMap { try? Frame.encode($0, limits: limits) }.reduce(Data(), +)
    precondition(Data(stream.prefix(again.count)) == again, "the frames are not the stream")
}

private struct Frames: Equatable {
    var payloads = [Data]()
    var hasFailed = false
}

private func frames(of pieces: [ArraySlice<UInt8>], _ limits: Limits) -> Frames {
    var decoder = FrameDecoder(limits: limits)
    var result = Frames()
    for piece in pieces where !result.hasFailed {
        decoder.append(piece)
        do {
            while let payload = try decoder.next() { result.payloads.append(payload) }
        } catch {
            result.hasFailed = true
        }
    }
    return result
}
