// SPDX-License-Identifier: MIT
//
// An echo server on Asio, with callbacks, its fastest way.
//
//     echo_asio PORT
//
#include <array>
#include <asio.hpp>
#include <cstdlib>
#include <memory>
#include <sys/resource.h>

using asio::ip::tcp;

struct session : std::enable_shared_from_this<session> {
    tcp::socket socket;
    std::array<char, 16384> buffer;

    explicit session(tcp::socket accepted) : socket(std::move(accepted)) {}

    void read()
    {
        socket.async_read_some(asio::buffer(buffer),
                               [self = shared_from_this()](auto error, std::size_t size) {
                                   if (!error)
                                       self->write(size);
                               });
    }

    void write(std::size_t size)
    {
        asio::async_write(socket, asio::buffer(buffer, size),
                          [self = shared_from_this()](auto error, std::size_t) {
                              if (!error)
                                  self->read();
                          });
    }
};

static void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](auto error, tcp::socket socket) {
        if (!error) {
            socket.set_option(tcp::no_delay(true));
            std::make_shared<session>(std::move(socket))->read();
        }
        accept(acceptor);
    });
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    asio::io_context context(1);
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(),
                                 static_cast<unsigned short>(std::atoi(argv[1])));
    tcp::acceptor acceptor(context);
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen(4096);
    accept(acceptor);
    context.run();
}
