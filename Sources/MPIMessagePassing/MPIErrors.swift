import CMPI
import MessagePassing

/// Turns an MPI error code into an error that has MPI's own words.
package func check(_ code: Int32, _ call: String) throws(CommunicatorError) {
    if code == cmpi_success() { return }
    var text = [CChar](repeating: 0, count: Int(cmpi_max_error_string()) + 1)
    var length: Int32 = 0
    MPI_Error_string(code, &text, &length)
    let reason = String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    throw .library(call: call, code: Int(code), reason: reason)
}

extension MessageType {
    /// MPI's handle.
    var handle: MPI_Datatype? {
        switch self {
        case .uint8: cmpi_uint8()
        case .int32: cmpi_int32()
        case .int64: cmpi_int64()
        case .float: cmpi_float()
        case .double: cmpi_double()
        }
    }
}

extension Reduction {
    /// MPI's handle.
    var handle: MPI_Op? {
        switch self {
        case .sum: cmpi_sum()
        case .minimum: cmpi_min()
        case .maximum: cmpi_max()
        }
    }
}
