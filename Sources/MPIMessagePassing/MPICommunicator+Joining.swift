import CMPI
import MessagePassing

/// Worlds of processes that no launcher started, each of which begins as an MPI world of its own: they are joined one by one
/// (MPI 4.0, section 11.9). Open MPI needs its `ompi-server` for that.
extension MPICommunicator {
    /// Opens a port for `accept`.
    /// - Returns: its name, for `connect` in another process.
    public static func openPort() throws(CommunicatorError) -> String {
        var name = [CChar](repeating: 0, count: Int(cmpi_max_port_name()))
        try check(MPI_Open_port(cmpi_info_null(), &name), "MPI_Open_port")
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Waits for one process that calls `connect`. Collective, but only rank 0 has to know the port.
    /// - Returns: these ranks and, as the last one, the process.
    public func accept(port: String) throws(CommunicatorError) -> MPICommunicator {
        var handle: MPI_Comm?
        try check(MPI_Comm_accept(port, cmpi_info_null(), 0, self.handle, &handle), "MPI_Comm_accept")
        return try merge(handle, isLast: false)
    }

    /// Becomes the last rank of a world that calls `accept`.
    public func connect(to port: String) throws(CommunicatorError) -> MPICommunicator {
        var handle: MPI_Comm?
        try check(MPI_Comm_connect(port, cmpi_info_null(), 0, self.handle, &handle), "MPI_Comm_connect")
        return try merge(handle, isLast: true)
    }

    private func merge(_ groups: MPI_Comm?, isLast: Bool) throws(CommunicatorError) -> MPICommunicator {
        var groups = groups
        try check(MPI_Comm_set_errhandler(groups, cmpi_errors_return()), "MPI_Comm_set_errhandler")
        var merged: MPI_Comm?
        try check(MPI_Intercomm_merge(groups, isLast ? 1 : 0, &merged), "MPI_Intercomm_merge")
        try check(MPI_Comm_free(&groups), "MPI_Comm_free")
        return try adopt(merged, call: "MPI_Intercomm_merge")
    }

    /// The node of each rank by the names of their machines: Open MPI does not know which of the ranks that joined can share memory.
    /// Collective.
    public func nodesByName() throws -> [Int] {
        var text = [CChar](repeating: 0, count: Int(cmpi_max_processor_name()))
        var length: Int32 = 0
        try check(MPI_Get_processor_name(&text, &length), "MPI_Get_processor_name")
        var names = [UInt8](repeating: 0, count: size * text.count)
        let name = text.map { UInt8(bitPattern: $0) }
        var span = names.mutableSpan
        try allGather(name.span, counts: [Int](repeating: name.count, count: size), into: &span)
        var numbers = [ArraySlice<UInt8>: Int]()
        return (0..<size).map { rank in
            let name = names[rank * text.count..<(rank + 1) * text.count].prefix { $0 != 0 }
            let number = numbers[name] ?? numbers.count
            numbers[name] = number
            return number
        }
    }
}
